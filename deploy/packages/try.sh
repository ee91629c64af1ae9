#!/usr/bin/env bash
# Packs a program, then installs, starts, upgrades, removes and purges the .deb in a clean Debian, and checks the state after
# each step. At the upgrade, a router runs, and the administrator has changed the Tapfile: it has a second sink, whose collector
# is down and whose frames wait in a spool. After that, installs, starts and erases the .rpm in the same folder.
#
#   deploy/packages/try.sh target/x86_64-unknown-linux-musl/debug/tapfan
#
# Needs root, or sudo without a password. Installs what it needs; the first run makes the Debian.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/packages/machine.sh
source "$here/machine.sh"
machine "$0" "$1"
capture=$here/../../tests/data/bind.fstrm
changed='# Changed by the administrator.'
# Nothing listens at this port.
waiting='dnstap tcp://127.0.0.1:9 full {
    name waiting
    spool /var/lib/tapfan/waiting 1GiB
}'

package=$(echo "$work"/packages/*.deb)
(cd "$work/packages" && sha256sum --check --quiet SHA256SUMS) || fail 'SHA256SUMS is wrong'
(($(wc --lines <"$work/packages/SHA256SUMS") == 4)) || fail 'SHA256SUMS does not list the four files'
if said=$("$here/../package" "$capture" "$work/none" 2>&1) || [[ $said != *'is not a program for x86_64 or aarch64' ]]; then
    fail 'deploy/package packs a capture as a program:' "$said"
fi
# The next version has another Tapfile, so that the administrator and the package have both changed the file.
dpkg-deb --raw-extract "$package" "$work/next"
sed --in-place 's/^Version: .*/Version: 99.0.0/' "$work/next/DEBIAN/control"
echo '# Changed by the next version.' >>"$work/next/etc/tapfan/Tapfile"
(cd "$work/next" && find usr etc -type f -exec md5sum {} +) >"$work/next/DEBIAN/md5sums"
dpkg-deb --build --root-owner-group -Zgzip -z1 "$work/next" "$work/next.deb" >/dev/null
cp "$package" "$root/tmp/first.deb"
cp "$work/next.deb" "$root/tmp/"
cp "$capture" "$root/tmp/capture.fstrm"

# shellcheck disable=SC2016 # dpkg-query expands it.
installed() { inside dpkg-query --show --showformat='${db:Status-Status} ${Version}' tapfan 2>/dev/null || true; }
called() { grep --quiet --line-regexp -- "$1" "$root/run/systemd/calls"; }
taps() { inside sh -c 'tapfan dump /var/log/tapfan/*.fstrm.zst 2>/dev/null' | wc --lines; }
replay() { inside tapfan replay --to /run/tapfan/dnstap.sock /tmp/capture.fstrm >/dev/null 2>&1; }

# Installed, and not started.
inside dpkg --install /tmp/first.deb >"$work/dpkg" 2>&1 || fail "$(<"$work/dpkg")"
inside tapfan --version >/dev/null
# shellcheck disable=SC2016
[[ $(inside dpkg-query --show --showformat='${Conffiles}' tapfan) == *' /etc/tapfan/Tapfile '* ]] || fail '/etc/tapfan/Tapfile is no conffile'
[[ $(inside id --user --name tapfan) == tapfan ]] || fail 'there is no user tapfan'
inside tapfan check --elsewhere /etc/tapfan/Tapfile >"$work/check" 2>&1 || fail 'the Tapfile is wrong:' "$(<"$work/check")"
called daemon-reload || fail 'the installation does not run systemctl daemon-reload'
[[ ! -e $root/run/systemd/pid ]] || fail 'the installation starts tapfan'
for path in man/man1/tapfan.1.gz man/man1/tapfan-run.1.gz man/man5/Tapfile.5.gz doc/tapfan/changelog.gz; do
    gzip --test "$root/usr/share/$path" || fail "/usr/share/$path is missing"
done
for path in doc/tapfan/copyright doc/tapfan/README.md doc/tapfan/docs/guide.md fish/vendor_completions.d/tapfan.fish \
    zsh/vendor-completions/_tapfan; do
    [[ -s $root/usr/share/$path ]] || fail "/usr/share/$path is missing"
done
inside bash -c 'source /usr/share/bash-completion/completions/tapfan && complete -p tapfan >/dev/null' || fail 'bash gets no completions'

# Starts tapfan as its unit says, with the installed Tapfile.
inside systemctl start tapfan.service
within 20 inside tapfan status
read -r _ uid _ < <(grep '^Uid:' "$root/proc/$(pid)/status")
[[ $uid == "$(inside id --user tapfan)" ]] || fail "tapfan runs as user $uid"
grep --quiet '^CapEff:	0000000000000000$' "$root/proc/$(pid)/status" || fail 'tapfan has capabilities'
frames=$(inside tapfan dump /tmp/capture.fstrm 2>/dev/null | wc --lines)
((frames > 0)) || fail 'the capture is empty'
replay

# Upgrades tapfan while it runs. dpkg keeps the changed Tapfile, and stores the Tapfile of the next version beside it.
printf '%s\n' "$changed" "$waiting" >>"$root/etc/tapfan/Tapfile"
before=$(pid)
inside dpkg --force-confold --install /tmp/next.deb >"$work/dpkg" 2>&1 || fail "$(<"$work/dpkg")"
[[ $(installed) == 'installed 99.0.0' ]] || fail "after the upgrade: $(installed)"
grep --quiet --line-regexp "$changed" "$root/etc/tapfan/Tapfile" || fail 'the upgrade loses the change of the Tapfile'
[[ -e $root/etc/tapfan/Tapfile.dpkg-dist ]] || fail 'the Tapfile of the next version is not there'
! called 'disable --now .*' || fail 'the upgrade disables the units'
called 'try-restart tapfan.service' || fail 'the upgrade does not restart tapfan'
[[ $(pid) != "$before" && ! -e $root/proc/$before ]] || fail 'the process from before the upgrade still runs'
# The sink `waiting` has no collector.
within 20 inside tapfan status --sink files
[[ $(readlink "$root/proc/$(pid)/exe") != *deleted* ]] || fail 'the router runs the program from before the upgrade'
(($(taps) == frames)) || fail "$(taps) taps in the files after $frames frames"
replay

# Removed: the router has stopped, and the Tapfile and the taps stay.
before=$(pid)
inside dpkg --remove tapfan >"$work/dpkg" 2>&1 || fail "$(<"$work/dpkg")"
called 'disable --now tapfan.socket tapfan.service' || fail 'the removal does not disable the units'
[[ ! -e $root/proc/$before ]] || fail 'tapfan runs after its removal'
[[ ! -e $root/usr/bin/tapfan && ! -e $root/usr/lib/systemd/system/tapfan.service ]] || fail 'the program or its unit is still there'
[[ $(installed) == 'config-files 99.0.0' ]] || fail "after the removal: $(installed)"
grep --quiet --line-regexp "$changed" "$root/etc/tapfan/Tapfile" || fail 'the removal loses the Tapfile'
cp "$work/tapfan" "$root/usr/local/bin/"
(($(taps) == 2 * frames)) || fail "$(taps) taps in the files after two times $frames frames"
inside tapfan spool cat /var/lib/tapfan/waiting -w /tmp/waiting.fstrm >"$work/spool" 2>&1 || fail "$(<"$work/spool")"
kept=$(inside tapfan dump /tmp/waiting.fstrm 2>/dev/null | wc --lines)
((kept >= frames)) || fail "the spool keeps only $kept of $frames frames"
[[ $(stat --format=%a "$root/var/lib/tapfan") == 700 ]] || fail 'other users can read the spools'

# Purged: nothing is left.
inside dpkg --purge tapfan >"$work/dpkg" 2>&1 || fail "$(<"$work/dpkg")"
[[ -z $(installed) || $(installed) == 'not-installed '* ]] || fail "after the purge: $(installed)"
for path in /etc/tapfan /var/log/tapfan /var/lib/tapfan /usr/share/doc/tapfan; do
    [[ ! -e $root$path ]] || fail "the purge leaves $path"
done
echo "packages: the .deb was installed, started, upgraded, removed and purged; $((2 * frames)) taps in its files"

# The .rpm, with Debian's rpm, which runs the scripts of the package in this Debian. `--nodeps`: no database of rpm lists what is
# installed here.
as_rpm() { rpm --root "$root" --nodeps "$@" >"$work/rpm" 2>&1 || fail "rpm $*:" "$(<"$work/rpm")"; }
rm "$root/usr/local/bin/tapfan"
# The scripts of a .rpm do not look in /usr/local/bin.
ln --symbolic --force /usr/local/bin/systemctl "$root/usr/bin/systemctl"
inside userdel tapfan 2>/dev/null || true
: >"$root/run/systemd/calls"
as_rpm --install "$work"/packages/*.rpm
[[ $(rpm --root "$root" --query --configfiles tapfan) == /etc/tapfan/Tapfile ]] || fail '/etc/tapfan/Tapfile is no configuration file of the .rpm'
[[ $(inside id --user --name tapfan) == tapfan ]] || fail 'the .rpm makes no user tapfan'
called daemon-reload || fail 'the .rpm does not run systemctl daemon-reload'
inside systemctl start tapfan.service
within 20 inside tapfan status
before=$(pid)
echo "$changed" >>"$root/etc/tapfan/Tapfile"
as_rpm --erase tapfan
called 'disable --now tapfan.socket tapfan.service' || fail 'the .rpm does not disable the units when it is erased'
[[ ! -e $root/proc/$before ]] || fail 'tapfan runs after its .rpm was erased'
[[ ! -e $root/usr/bin/tapfan && ! -e $root/usr/lib/systemd/system/tapfan.service ]] || fail 'the .rpm leaves its program or its unit'
grep --quiet --line-regexp "$changed" "$root/etc/tapfan/Tapfile.rpmsave" || fail 'the .rpm does not keep the changed Tapfile'
echo 'packages: the .rpm was installed, started and erased'
