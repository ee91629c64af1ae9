#!/usr/bin/env bash
# Installs `ip`, which the network tests need, from Debian's or Ubuntu's packages. Needs root, or
# sudo without a password. Quick if it is installed.
set -euo pipefail

if command -v ip >/dev/null; then
    echo "network: ip is installed"
    exit 0
fi
as_root=()
((EUID == 0)) || as_root=(sudo --non-interactive)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2)
echo "network: installing iproute2"
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends iproute2 >/dev/null
