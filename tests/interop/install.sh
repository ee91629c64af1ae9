#!/usr/bin/env bash
# Installs the DNS servers and dnstap tools that the interop tests run, from Debian's or Ubuntu's
# packages. Needs root, or sudo without a password. Quick if everything is installed.
set -euo pipefail

packages=(
    bind9
    dnsdist
    dnsperf
    fstrm-bin
    golang-github-dnstap-golang-dnstap-cli
    knot
    knot-module-dnstap
    pdns-recursor
    prometheus
    systemd
    tmux
    unbound
)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "interop: all ${#packages[@]} packages are installed"
    exit 0
fi

as_root=()
((EUID == 0)) || as_root=(sudo --non-interactive)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2)

# Each package would start its server on port 53; the tests start their own. An existing policy is
# kept.
policy=/usr/sbin/policy-rc.d
made_policy=
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install --mode=0755 /dev/stdin "$policy"
    made_policy=yes
fi
tidy() {
    [[ -z $made_policy ]] || "${as_root[@]}" rm --force "$policy"
}
trap tidy EXIT

echo "interop: installing ${missing[*]}"
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends "${missing[@]}" >/dev/null

# Otherwise they would start at the next boot.
if [[ -n $made_policy && -d /run/systemd/system ]]; then
    "${as_root[@]}" systemctl --quiet disable named.service unbound.service knot.service dnsdist.service \
        pdns-recursor.service prometheus.service 2>/dev/null || true
fi
