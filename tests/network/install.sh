#!/usr/bin/env bash
# Installs what the tests in network namespaces run: `ip`, from Debian's or Ubuntu's packages.
# Needs root, or sudo that asks nothing. Quick if it is there.
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
