#!/usr/bin/env bash
# Usage: tests/packages.sh FOR PACKAGE...
# Installs packages of Debian or Ubuntu. FOR is printed at the start of each message, and says what needs the packages.
# The script needs root, or sudo without a password. If all packages are installed, it ends quickly.
set -euo pipefail

for=$1
shift
missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "$for: all $# packages are installed"
    exit 0
fi
as_root=()
((EUID == 0)) || as_root=(sudo --non-interactive)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2)
echo "$for: installing ${missing[*]}"
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends "${missing[@]}" >/dev/null
