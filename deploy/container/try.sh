#!/usr/bin/env bash
# Builds the last stage of the image around a static program, and runs it as Kubernetes does: as user 65532, with a read-only
# root, without privileges, and with a Tapfile at /etc/tapfan.
#
#   deploy/container/try.sh target/x86_64-unknown-linux-musl/debug/tapfan
#
# Needs root, or sudo without a password. install.sh installs its tools.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$1")
if ((EUID != 0)); then
    exec sudo --non-interactive "$here/try.sh" "$program"
fi
# The script runs in its own mount and network namespaces, which end with it.
if [[ -z ${TAPFAN_TRY_ALONE:-} ]]; then
    TAPFAN_TRY_ALONE=yes exec unshare --mount --net "$here/try.sh" "$program"
fi
ip link set lo up

work=$(mktemp --directory)
router=
tidy() {
    [[ -z $router ]] || kill -KILL "$router" 2>/dev/null || true
    umount --recursive "$work/root" 2>/dev/null || true
    rm --recursive --force "$work"
}
trap tidy EXIT
fail() {
    printf 'image: %s\n' "$@" >&2
    exit 1
}

# This folder replaces the stage `build` of the Containerfile. It has the same files, with this program.
install -D --mode=0755 "$program" "$work/build/image/tapfan"
strip "$work/build/image/tapfan"
install -D --mode=0644 /etc/ssl/certs/ca-certificates.crt "$work/build/image/etc/ssl/certs/ca-certificates.crt"
install -D --mode=0644 "$here/../../LICENSE" "$work/build/image/LICENSE"

# With these options, buildah needs no daemon, no registry and no overlay file system.
images=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
"${images[@]}" build --quiet --isolation chroot --build-context "build=$work/build" --build-arg SOURCE=https://example.net \
    --file "$here/Containerfile" --tag tapfan "$here/../.." >/dev/null
inspect() { "${images[@]}" inspect --type image --format "{{$1}}" tapfan; }
user=$(inspect .OCIv1.Config.User)
[[ $user == 65532:65532 ]] || fail "the user is $user"
[[ $(inspect .OCIv1.Config.Entrypoint) == '[/tapfan]' ]] || fail 'the entry point is not /tapfan'
[[ $(inspect .OCIv1.Config.Labels) == *org.opencontainers.image.source:https://example.net* ]] || fail 'the label for the source is missing'
read -ra command <<<"$(inspect 'range .OCIv1.Config.Cmd}}{{.}} {{end')"
image=$("${images[@]}" mount "$("${images[@]}" from tapfan)")

# The root of the container, with the mounts that a runtime makes.
mkdir "$work/root" "$work/config"
cp --recursive "$image/." "$work/root"
[[ $(cd "$work/root" && find . -type f | sort | tr '\n' ' ') == './LICENSE ./etc/ssl/certs/ca-certificates.crt ./tapfan ' ]] ||
    fail "the image must contain only tapfan, LICENSE and ca-certificates.crt, but has: $(cd "$work/root" && find . -type f)"
cat >"$work/config/Tapfile" <<END
listen tcp://0.0.0.0:6000
probes 0.0.0.0:9181
dnstap tls://127.0.0.1:6443 full
END
chmod --recursive a+rX "$work"
mount --bind "$work/root" "$work/root"
mkdir --parents "$work/root"/{dev,etc/tapfan,proc,sys}
mount --bind "$work/config" "$work/root/etc/tapfan"
for folder in dev proc sys; do
    mount --rbind "/$folder" "$work/root/$folder"
done
mount --options remount,bind,ro "$work/root"
mount --options remount,bind,ro "$work/root/etc/tapfan"
contain() { exec setpriv --no-new-privs unshare --root="$work/root" --setgid 65532 --setuid 65532 /tapfan "$@"; }

(contain --version)
# The TLS sink needs the certificate authorities in the image, so `check` fails if they are missing.
(contain check --config=/etc/tapfan/Tapfile >/dev/null)
contain "${command[@]}" 2>"$work/log" &
router=$!

# answers PATH: waits until the probe answers 200.
answers() {
    local path=$1 end=$((SECONDS + 20)) line
    while ((SECONDS < end)); do
        kill -0 "$router" 2>/dev/null || fail 'tapfan does not run:' "$(cat "$work/log")"
        line=$( (
            exec 3<>/dev/tcp/127.0.0.1/9181
            printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
            head --lines=1 <&3
        ) 2>/dev/null || true)
        [[ $line != *' 200 '* ]] || return 0
        sleep 0.1
    done
    fail "$path does not answer 200:" "$(cat "$work/log")"
}
answers /livez
answers /readyz
grep --quiet "^Uid:	65532	65532	65532	65532$" "/proc/$router/status" || fail 'tapfan does not run as user 65532'
grep --quiet '^CapEff:	0000000000000000$' "/proc/$router/status" || fail 'tapfan has capabilities'

kill -TERM "$router"
status=0
wait "$router" || status=$?
router=
((status == 0)) || fail "tapfan exits with $status on SIGTERM:" "$(cat "$work/log")"
echo 'image: built, and run as user 65532 with a read-only root'
