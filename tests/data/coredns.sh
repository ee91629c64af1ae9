#!/usr/bin/env bash
# Records frames of CoreDNS v1.15.0, which fills in `extra` from a line with every placeholder. Usage:
# tests/data/coredns.sh COREDNS tests/data/coredns.fstrm, with COREDNS from
#     go install github.com/coredns/coredns@v1.15.0
#  Needs golang-dnstap's `dnstap` and python3.
set -euo pipefail
coredns=$1 out=$2
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
dnstap -u "$dir/d.sock" -w "$out" 2>/dev/null &
tool=$!
until [[ -S $dir/d.sock ]]; do sleep 0.1; done
cat >"$dir/zone" <<'Z'
$ORIGIN example.test.
@ 3600 IN SOA ns.example.test. admin.example.test. 1 3600 600 86400 60
@ 3600 IN NS ns
ns 3600 IN A 192.0.2.1
www 3600 IN A 192.0.2.80
www 3600 IN AAAA 2001:db8::80
*.wild 3600 IN TXT "wild"
Z
cat >"$dir/Corefile" <<C
.:5391 {
    bind 127.0.0.1 ::1
    metadata
    dnstap $dir/d.sock full {
        identity coredns
        extra "{type}|{class}|{name}|{proto}|{remote}|{port}|{local}|{size}|{>id}|{>opcode}|{>do}|{>bufsize}|{rcode}|{rsize}|{>rflags}|{duration}|{/forward/upstream}|{/none/none}|{/}|{nmae}|{{port}}|}"
    }
    forward . 127.0.0.1:5392
}
example.test:5392 {
    bind 127.0.0.1
    file $dir/zone
}
C
(cd "$dir" && exec "$coredns" -conf Corefile) >"$dir/log" 2>&1 &
server=$!
python3 - <<'P'
import socket, struct, time
def name(labels): return b"".join(bytes([len(l)]) + l for l in labels) + b"\0"
def query(id, labels, qtype, qclass=1, flags=0x0100, edns=None, extra=b""):
    opt = b"" if edns is None else b"\0" + struct.pack(">HHIH", 41, edns[0], edns[1] << 15, len(extra)) + extra
    return struct.pack(">HHHHHH", id, flags, 1, 0, 0, bool(opt)) + name(labels) + struct.pack(">HH", qtype, qclass) + opt
www = [b"wWw", b"Example", b"TEST"]
queries = [
    query(1, www, 1), query(2, www, 28, edns=(1232, 1)), query(3, www, 1, edns=(100, 0)), query(4, www, 1, edns=(4096, 0)),
    query(5, [b"absent", b"example", b"test"], 65), query(6, [], 2), query(7, www, 9999), query(8, www, 1, qclass=3),
    query(9, www, 1, qclass=42), query(10, www, 255, qclass=255), query(11, [b"a.b c'@;()\"\\\x00\x7f\xdf\xff", b"wild", b"Example", b"test"], 16),
    query(12, www, 11), query(13, www, 23), query(14, www, 65535), query(15, www, 1, flags=0x0130),
    query(16, www, 1, flags=0x0000, edns=(1232, 1), extra=struct.pack(">HH8s", 10, 8, b"cookie!!")),
    query(65535, [b"x" * 63] * 3 + [b"y" * 61], 1), query(18, www, 1, flags=0x2100),
    query(19, www, 262), query(20, www, 128), query(21, www, 0),
]
def udp(family, host):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(0.5); s.connect((host, 5391))
    for q in queries:
        s.send(q)
        try: s.recv(65535)
        except (TimeoutError, ConnectionError): pass
def tcp(family, host):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(2); s.connect((host, 5391))
    for q in queries:
        s.sendall(struct.pack(">H", len(q)) + q)
        try: s.recv(65535)
        except TimeoutError: pass
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", 5391), 1).close(); socket.create_connection(("127.0.0.1", 5392), 1).close(); break
    except OSError: time.sleep(0.1)
for run in (udp, tcp):
    run(socket.AF_INET, "127.0.0.1"); run(socket.AF_INET6, "::1")
P
sleep 2
kill $server; wait $server || true
kill -INT $tool; wait $tool || true
# `dnstap` ends its file in the middle of a frame. This keeps the complete frames and adds STOP.
python3 - "$out" <<'P'
import struct, sys
data = open(sys.argv[1], "rb").read()
at, kept = 0, b""
while at + 8 <= len(data):
    length, = struct.unpack_from(">I", data, at)
    end = at + 4 + (length or 4 + struct.unpack_from(">I", data, at + 4)[0])
    if end > len(data): break
    kept, at = kept + data[at:end], end
open(sys.argv[1], "wb").write(kept + bytes.fromhex("000000000000000400000003"))
P
