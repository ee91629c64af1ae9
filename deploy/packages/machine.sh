# Sourced by the tests of the packages: packs a program, and sets up a Debian system in the folder $root and in its own
# namespaces, with the packages in $work/packages. Needs root, or sudo without a password.
# shellcheck shell=bash

fail() {
    printf 'packages: %s\n' "$@" >&2
    [[ ! -s ${root:-}/run/systemd/journal ]] || sed 's/^/    /' "$root/run/systemd/journal" >&2
    exit 1
}

# machine SCRIPT PROGRAM: runs the script again as root, and a third time in its own namespaces. Returns only in the third run.
machine() {
    local here script program as_root=()
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    script=$(realpath "$1")
    program=$2
    ((EUID == 0)) || as_root=(sudo --non-interactive)
    case ${TAPFAN_TRY:-} in
    '') # As the user that builds tapfan.
        "$here/../../tests/packages.sh" packages binutils debian-archive-keyring debootstrap iproute2 rpm
        work=$(mktemp --directory)
        # For failures before `exec`, which would skip this trap.
        trap 'rm --recursive --force "$work"' EXIT
        strip --output-file="$work/tapfan" "$program"
        # nfpm is one of the checks' tools.
        PATH=$("$here/../checks/tools")/bin:$PATH "$here/../package" "$work/tapfan" "$work/packages" >/dev/null
        exec "${as_root[@]}" env PATH="$PATH" HOME="$HOME" WORK="$work" TAPFAN_TRY=root "$script" "$program"
        ;;
    root) # As root, with the network.
        work=${WORK:?}
        trap 'rm --recursive --force "$work"' EXIT
        DEBIAN=$("$here/root.sh")
        DEBIAN=$DEBIAN TAPFAN_TRY=alone exec unshare --mount --net --pid --fork --kill-child "$script" "$program"
        ;;
    alone) # In namespaces, so that processes, mounts and network end with this run.
        work=${WORK:?} root=$WORK/root
        trap tidy EXIT
        set -o errtrace
        trap 'fail "line $LINENO failed: $BASH_COMMAND"' ERR
        cp --archive "$DEBIAN" "$root"
        ip link set lo up
        mount --types proc proc "$root/proc"
        mkdir --parents "$root/run/systemd/system"
        install --mode=0755 "$here/systemctl" "$root/usr/local/bin/"
        ;;
    esac
}

tidy() {
    umount "$root/proc" 2>/dev/null || true
    rm --recursive --force --one-file-system "$work"
}

# inside COMMAND…: runs a command in this Debian.
inside() {
    env --ignore-environment DEBIAN_FRONTEND=noninteractive PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        chroot "$root" "$@"
}

# within SECONDS COMMAND…: waits until the command succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "this command did not succeed in time: $*"
        sleep 0.1
    done
}

pid() { cat "$root/run/systemd/pid"; }
