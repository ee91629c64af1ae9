#!/usr/bin/env bash
# Records frames of PowerDNS Recursor 4.8, whose queries go to Knot DNS. Usage:
# tests/data/recursor.sh tests/data/recursor.fstrm
# Needs pdns_recursor, knotd, fstrm_capture and python3.
set -euo pipefail
out=$1
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
fstrm_capture -t protobuf:dnstap.Dnstap -u "$dir/d.sock" -w "$out" &
tool=$!
until [[ -S $dir/d.sock ]]; do sleep 0.1; done
cat >"$dir/zone" <<'Z'
$ORIGIN example.test.
@ 3600 IN SOA ns.example.test. admin.example.test. 1 3600 600 86400 60
@ 3600 IN NS ns
ns 3600 IN A 192.0.2.1
www 3600 IN A 192.0.2.80
www 3600 IN AAAA 2001:db8::80
*.wild 1 IN TXT "wild"
Z
cat >"$dir/knot.conf" <<C
server:
    rundir: $dir
    listen: 127.0.0.1@5393
database:
    storage: $dir
zone:
  - domain: example.test
    file: $dir/zone
  # A zone without a file: knotd answers SERVFAIL.
  - domain: fail.test
    file: $dir/absent
C
knotd -c "$dir/knot.conf" >"$dir/log" 2>&1 &
echo "dnstapFrameStreamServer({\"$dir/d.sock\"}, {logQueries=true, logResponses=true})" >"$dir/taps.lua"
cat >"$dir/recursor.conf" <<C
daemon=no
disable-syslog=yes
write-pid=no
socket-dir=$dir
local-address=127.0.0.1
local-port=5394
query-local-address=127.0.0.1
forward-zones-recurse=.=127.0.0.1:5393
dnssec=off
qname-minimization=no
security-poll-suffix=
edns-subnet-allow-list=example.test
use-incoming-edns-subnet=yes
threads=1
lua-config-file=$dir/taps.lua
C
pdns_recursor --config-dir="$dir" >"$dir/recursor.log" 2>&1 &
server=$!
sleep 3
python3 - <<'P'
import socket, struct
def name(text): return b"".join(bytes([len(l)]) + l.encode() for l in text.split(".")) + b"\0"
def query(id, text, qtype, subnet=None):
    option = b"" if subnet is None else struct.pack(">HHHBB", 8, 4 + len(subnet), 1, 8 * len(subnet), 0) + bytes(subnet)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option
    return struct.pack(">HHHHHH", id, 0x0100, 1, 0, 0, 1) + name(text) + struct.pack(">HH", qtype, 1) + opt
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect(("127.0.0.1", 5394))
for n in range(150):
    kind = n % 5
    text = ["www.example.test", f"n{n}.wild.example.test", f"absent{n}.example.test", f"a{n}.fail.test", f"b{n}.refused.test"][kind]
    s.send(query(n, text, [1, 16, 28, 1, 65][kind] if n < 5 or kind else 28, None if n % 2 else [198, 51, 100 + n % 3]))
    try: s.recv(65535)
    except (TimeoutError, ConnectionError): pass
P
sleep 2
kill -TERM "$server"
wait "$server" || true
sleep 1
kill -TERM "$tool"
wait "$tool" || true
