#!/usr/bin/env bash
# Tests the first steps of an administrator in a clean Debian: installs the .deb, starts tapfan, and makes BIND and CoreDNS
# send to it. Both must be senders in `tapfan status` and in the page's data, and `tapfan dump` must print the taps of both.
#
#   deploy/packages/try-dns.sh target/x86_64-unknown-linux-musl/debug/tapfan
#
# Needs root, or sudo without a password, and Go for CoreDNS. The first run makes the Debian and builds CoreDNS.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/packages/machine.sh
source "$here/machine.sh"

# coredns: prints the path of a CoreDNS with only the plugins that this test needs; such a build takes seconds.
coredns() {
    local version=v1.15.0 folder
    folder=${TAPFAN_CI_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tapfan-ci}/coredns-$version
    if [[ ! -x $folder/coredns ]]; then
        mkdir --parents "$folder"
        cat >"$folder/main.go" <<'END'
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/whoami"
)

func main() { coremain.Run() }
END
        (
            cd "$folder"
            rm --force go.mod
            go mod init coredns
            go get "github.com/coredns/coredns@$version"
            go mod tidy
            CGO_ENABLED=0 go build -o coredns .
        ) >"$folder/log" 2>&1 || { tail "$folder/log" >&2 && return 1; }
    fi
    echo "$folder/coredns"
}

[[ -n ${COREDNS:-} ]] || COREDNS=$(coredns)
export COREDNS
machine "$0" "$1"

install --mode=0755 "$COREDNS" "$root/usr/local/bin/coredns"
cp "$work"/packages/*.deb "$root/tmp/tapfan.deb"
inside dpkg --install /tmp/tapfan.deb >"$work/dpkg" 2>&1 || fail "$(<"$work/dpkg")"

# Does what the comments of the Tapfile say about a DNS server that does not run as root.
sed --in-place 's|^listen unix:///run/tapfan/dnstap.sock$|& {\n    group bind\n}|' "$root/etc/tapfan/Tapfile"
mkdir --parents "$root/etc/systemd/system/tapfan.service.d"
printf '[Service]\nSupplementaryGroups=bind\n' >"$root/etc/systemd/system/tapfan.service.d/override.conf"
# The unit creates /run/tapfan, so the folder of the socket does not exist yet.
inside tapfan check --elsewhere >"$work/check" 2>&1 || fail "$(<"$work/check")"
inside systemctl start tapfan.service
within 20 inside tapfan status

cat >"$root/etc/bind/named.conf" <<'END'
options {
    directory "/var/cache/bind";
    listen-on port 5301 { 127.0.0.1; };
    listen-on-v6 { none; };
    recursion no;
    dnstap { all; };
    dnstap-output unix "/run/tapfan/dnstap.sock";
    dnstap-identity "bind.test";
};
zone "bind.test" { type primary; file "/etc/bind/bind.test"; };
END
cat >"$root/etc/bind/bind.test" <<'END'
$TTL 60
@ SOA ns admin 1 60 60 60 60
@ NS ns
ns A 192.0.2.1
END
printf '.:5302 {\n    dnstap /run/tapfan/dnstap.sock full {\n        identity coredns.test\n    }\n    whoami\n}\n' \
    >"$root/etc/Corefile"
mkdir --parents "$root/run/named"
inside chown bind /run/named
inside named -u bind -f >"$work/named" 2>&1 &
inside coredns -conf /etc/Corefile >"$work/coredns" 2>&1 &
asks() { inside dig +time=1 +tries=1 +short @127.0.0.1 -p "$1" "$2" A >/dev/null; }

# BIND connects when it starts or within 5 seconds. The sink `files` must get queries and responses of both servers.
dumped() { inside sh -c 'tapfan dump /var/log/tapfan/*' 2>/dev/null; }
seen() {
    asks 5301 ns.bind.test
    asks 5302 www.coredns.test
    dumped >"$work/taps"
    grep --quiet 'ns\.bind\.test' "$work/taps" && grep --quiet 'www\.coredns\.test' "$work/taps"
}
within 20 seen
page() { inside curl --silent --fail --max-time 5 "http://127.0.0.1:9180$1"; }
[[ $(page /) == *'<html'* ]] || fail 'there is no page'
[[ $(page /status) == *'"connections":2,'* ]] || fail 'the page does not show two senders:' "$(page /status)"
inside tapfan status
grep --max-count=2 'bind\.test' "$work/taps"
grep --max-count=2 'coredns\.test' "$work/taps"
echo "packages: BIND and CoreDNS were tapped $SECONDS s after the start of the machine"
