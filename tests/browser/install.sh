#!/usr/bin/env bash
# Installs the programs that the browser tests run: Chromium and its driver, and a typeface for the
# screenshot, from Debian's packages. Needs root, or sudo without a password. Quick if everything is
# installed.
set -euo pipefail

packages=(chromium chromium-driver fonts-roboto-unhinted)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "browser: all ${#packages[@]} packages are installed"
    exit 0
fi
as_root=()
((EUID == 0)) || as_root=(sudo --non-interactive)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2)
echo "browser: installing ${missing[*]}"
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends "${missing[@]}" >/dev/null
