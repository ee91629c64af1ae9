#!/usr/bin/env bash
# Prints the folder of a clean Debian, made the first time: the smallest system, what the .deb depends on, and BIND. Needs root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=trixie
cache=${TAPFAN_CI_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tapfan-ci}
# Each version of this script has its own folder.
folder=$cache/debian-$(sha256sum "$here/root.sh" | cut -c1-16)
if [[ -e $folder/done ]]; then
    echo "$folder/root"
    exit 0
fi

echo "packages: making a Debian $suite" >&2
rm --recursive --force --one-file-system "$folder"
mkdir --parents "$folder"
debootstrap --variant=minbase --include=ca-certificates,systemd-standalone-sysusers "$suite" "$folder/root" >"$folder/log" ||
    { tail "$folder/log" >&2 && exit 1; }
# The package would start BIND.
printf '#!/bin/sh\nexit 101\n' | install --mode=0755 /dev/stdin "$folder/root/usr/sbin/policy-rc.d"
apt=(env DEBIAN_FRONTEND=noninteractive chroot "$folder/root" apt-get --yes --quiet=2)
"${apt[@]}" install --no-install-recommends bind9 bind9-dnsutils curl >>"$folder/log" 2>&1 ||
    { tail "$folder/log" >&2 && exit 1; }
"${apt[@]}" clean
touch "$folder/done"
echo "$folder/root"
