// Writes records.txt: DNS messages with a record of every type, and the text that miekg/dns makes of them.
//
// golang-dnstap 0.4.0 is built with miekg/dns 1.1.50 in Debian. In an empty folder, with this file as main.go:
//
//	go mod init records && go get github.com/miekg/dns@v1.1.50 && go run . >records.txt
package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/miekg/dns"
)

var records = []string{
	`A 192.0.2.1`,
	`AAAA 2001:db8::1`,
	`AAAA ::ffff:192.0.2.1`,
	`AAAA ::`,
	`AAAA 1:0:0:2:0:0:0:3`,
	`NS ns1.example.`,
	`MD a.example.`,
	`MF a.example.`,
	`CNAME a.example.`,
	`SOA ns1.example. hostmaster\.x.example. 4294967295 3600 600 86400 300`,
	`MB a.example.`,
	`MG a.example.`,
	`MR a.example.`,
	`PTR a\.b\@\000\255\ c.example.`,
	`HINFO "cpu \"x\"" "os\\\007"`,
	`MINFO a.example. b.example.`,
	`MX 10 mail.example.`,
	`TXT "one" "two \"quoted\" \\ \009 \200" ""`,
	`RP a.example. b.example.`,
	`AFSDB 1 a.example.`,
	`X25 311061700956`,
	`RT 2 a.example.`,
	`NSAP-PTR a.example.`,
	`SIG A 8 2 3600 20301231235959 20261122181000 12345 example. AQIDBA==`,
	`KEY 256 3 8 AQIDBA==`,
	`PX 10 a.example. b.example.`,
	`GPOS -32.6882 116.8652 10.0`,
	`LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m`,
	`LOC 1 2 3.456 S 179 59 59.999 W 21474836.47m 90000000m 0.01m 0.20m`,
	`EID 0123abcd`,
	`NIMLOC 0123abcd`,
	`SRV 1 2 3 a.example.`,
	`NAPTR 100 50 "s" "z3950+I2L+I2C" "!^.*$!\\1\"!" _z3950._tcp.example.`,
	`KX 10 a.example.`,
	`CERT PKIX 12345 RSASHA256 AQIDBA==`,
	`CERT 65280 12345 200 AQIDBA==`,
	`DNAME a.example.`,
	`APL 1:192.168.32.0/21 !1:192.168.38.0/28 2:2001:db8::/32 1:0.0.0.0/0`,
	`DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118`,
	`SSHFP 2 1 123456789abcdef67890123456789abcdef67890`,
	`RRSIG AAAA 13 2 3600 20301231235959 20261122181000 12345 example. AQIDBA==`,
	`RRSIG TYPE65280 13 2 3600 19700101000000 20261122181000 12345 example. AQID`,
	`NSEC a.example. A MX RRSIG NSEC TYPE1234`,
	`DNSKEY 257 3 13 AQIDBA==`,
	`DHCID AQIDBA==`,
	`NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr NS SOA MX RRSIG DNSKEY NSEC3PARAM`,
	`NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr`,
	`NSEC3PARAM 1 0 0 -`,
	`NSEC3PARAM 1 0 12 aabb`,
	`TLSA 3 1 1 0123abcd`,
	`SMIMEA 3 1 1 0123abcd`,
	`SMIMEA 3 1 1 ` + strings.Repeat("ab", 700),
	`SMIMEA 3 1 1 ` + strings.Repeat("cd", 512),
	`HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D rvs1.example. rvs2.example.`,
	`HIP 2 200100107B1A74DF365639CC39F1D578 AwEA`,
	`NINFO "one" "two"`,
	`RKEY 256 3 8 AQIDBA==`,
	`TALINK a.example. b.example.`,
	`CDS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118`,
	`CDNSKEY 257 3 13 AQIDBA==`,
	`OPENPGPKEY AQIDBA==`,
	`CSYNC 66 3 A NS AAAA`,
	`ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c`,
	`SVCB 0 a.example.`,
	`SVCB 16 . mandatory="alpn,port" alpn="h2,h3,f\\\\oo\\,bar" no-default-alpn="" port="53" ipv4hint="192.0.2.1,192.0.2.2" ech="AQIDBA==" ipv6hint="2001:db8::1,2001:db8::2" dohpath="/q{?dns}" key667="hello\210qoo \"x\""`,
	`HTTPS 1 . alpn="h3,h2"`,
	`SPF "v=spf1 -all"`,
	`UINFO "text"`,
	`UID 1000`,
	`GID 1000`,
	`NID 10 0014:4fff:ff20:ee64`,
	`L32 10 10.1.2.0`,
	`L64 10 2001:0DB8:1140:1000`,
	`LP 10 a.example.`,
	`EUI48 00-00-5e-00-53-2a`,
	`EUI64 00-00-5e-ef-10-00-00-2a`,
	`URI 10 1 "https://example.test/a;b"`,
	`CAA 0 issue "ca.example; account=230123"`,
	`AVC "app-name:WOLFGANG|app-class:OAM"`,
	`TA 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118`,
	`DLV 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118`,
	`TYPE65280 \# 3 010203`,
	`TYPE65280 \# 0`,
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Prints a message: its wire format, and its text.
func show(wire []byte) {
	msg := new(dns.Msg)
	check(msg.Unpack(wire))
	fmt.Println("wire " + hex.EncodeToString(wire))
	for _, line := range strings.Split(strings.TrimSuffix(msg.String(), "\n"), "\n") {
		fmt.Println("|" + line)
	}
}

func pack(msg *dns.Msg) []byte {
	msg.Compress = true
	wire, err := msg.Pack()
	check(err)
	return wire
}

func answer(rrs ...dns.RR) *dns.Msg {
	msg := new(dns.Msg)
	msg.Id = 1
	msg.Response = true
	msg.Question = []dns.Question{{Name: "www.example.", Qtype: rrs[0].Header().Rrtype, Qclass: dns.ClassINET}}
	msg.Answer = rrs
	return msg
}

func opt(options ...dns.EDNS0) *dns.OPT {
	opt := new(dns.OPT)
	opt.Hdr = dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}
	opt.Option = options
	return opt
}

func main() {
	for _, record := range records {
		rr, err := dns.NewRR("www.example. 300 IN " + record)
		check(err)
		wire := pack(answer(rr))
		show(wire)
	}

	// Every flag, opcode and class.
	for bits := 0; bits < 8; bits++ {
		header := []byte{0xff, byte(bits), 0xff & (1 << bits), 0, 0, 0, 0, 0, 0, 0, 0, 0}
		header[3] = 1 << bits & 0xf0
		show(header)
	}
	for _, opcode := range []int{dns.OpcodeIQuery, dns.OpcodeStatus, dns.OpcodeNotify, dns.OpcodeUpdate} {
		msg := new(dns.Msg)
		msg.Opcode = opcode
		msg.Id = 65535
		for _, class := range []uint16{0, 1, 2, 3, 4, 254, 255, 65280} {
			msg.Question = append(msg.Question, dns.Question{Name: ".", Qtype: class, Qclass: class})
		}
		show(pack(msg))
	}

	// Updates have records without data.
	msg := new(dns.Msg)
	msg.SetUpdate("example.")
	for _, rrtype := range []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeMX, dns.TypeTXT, dns.TypeHINFO, dns.TypeSRV, dns.TypeSOA, dns.TypeNSEC, dns.TypeDS,
		dns.TypeNSEC3PARAM, dns.TypeCAA, dns.TypeURI, dns.TypeSVCB, dns.TypeLOC, dns.TypeCERT, dns.TypeNAPTR, dns.TypeX25, dns.TypeEUI48,
		dns.TypeANY, dns.TypeL32, dns.TypeTLSA, dns.TypeAPL, dns.TypeRP, dns.TypeNSEC3, dns.TypeHIP, dns.TypeNID, dns.TypeCSYNC,
	} {
		msg.Ns = append(msg.Ns, &dns.ANY{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: rrtype, Class: dns.ClassANY}})
	}
	show(pack(msg))

	// Options of EDNS.
	subnet := func(family uint16, source, scope uint8, address string) *dns.EDNS0_SUBNET {
		return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: source, SourceScope: scope, Address: net.ParseIP(address)}
	}
	query := func(rcode int, extra ...dns.RR) *dns.Msg {
		msg := new(dns.Msg)
		msg.Id = 2
		msg.RecursionDesired = true
		msg.AuthenticatedData = true
		msg.Rcode = rcode
		msg.Question = []dns.Question{{Name: "www.example.", Qtype: dns.TypeHTTPS, Qclass: dns.ClassINET}}
		msg.Extra = extra
		return msg
	}
	show(pack(query(0, opt())))
	withDo := opt()
	withDo.SetDo()
	withDo.SetVersion(1)
	show(pack(query(dns.RcodeBadCookie, withDo)))
	for _, option := range []dns.EDNS0{
		&dns.EDNS0_LLQ{Version: 1, Opcode: 2, Error: 3, Id: 4, LeaseLife: 5},
		&dns.EDNS0_UL{Lease: 1, KeyLease: 2},
		&dns.EDNS0_UL{Lease: 1},
		&dns.EDNS0_NSID{Nsid: "6e7331e9"},
		&dns.EDNS0_NSID{},
		&dns.EDNS0_ESU{Uri: "sip:+1@example.test"},
		&dns.EDNS0_DAU{AlgCode: []uint8{8, 13, 200}},
		&dns.EDNS0_DHU{AlgCode: []uint8{1, 2, 200}},
		&dns.EDNS0_N3U{AlgCode: []uint8{1}},
		subnet(1, 24, 0, "192.0.2.77"),
		subnet(2, 56, 48, "2001:db8:1:200::"),
		subnet(0, 0, 0, "0.0.0.0"),
		&dns.EDNS0_COOKIE{Cookie: "24a5ac1122334455"},
		&dns.EDNS0_TCP_KEEPALIVE{Timeout: 300},
		&dns.EDNS0_TCP_KEEPALIVE{},
		&dns.EDNS0_PADDING{Padding: []byte{0, 0xab}},
		&dns.EDNS0_PADDING{},
		&dns.EDNS0_EDE{InfoCode: 15, ExtraText: "by ünicode \"policy\""},
		&dns.EDNS0_EDE{InfoCode: 49152},
		&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("abc")},
		&dns.EDNS0_LOCAL{Code: 20292},
	} {
		show(pack(query(0, opt(option, &dns.EDNS0_LOCAL{Code: 65002}))))
	}
	a, err := dns.NewRR("ns.example. 300 IN A 192.0.2.1")
	check(err)
	show(pack(query(0, a, opt())))
	show(pack(query(0, a)))

	tsig := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: "key.example.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: dns.HmacSHA256, TimeSigned: 1795370000, Fudge: 300, MACSize: 4, MAC: "0123abcd", OrigId: 3, Error: 18, OtherLen: 2, OtherData: "abcd",
	}
	show(pack(query(0, opt(), tsig)))
	tkey := &dns.TKEY{
		Hdr:       dns.RR_Header{Name: "key.example.", Rrtype: dns.TypeTKEY, Class: dns.ClassANY},
		Algorithm: "gss-tsig.", Inception: 1795370000, Expiration: 1795373600, Mode: 3, Error: 0, KeySize: 2, Key: "0aff", OtherLen: 0,
	}
	show(pack(query(0, tkey)))

	// Messages that are cut between their parts.
	whole := pack(answer(a, a))
	for _, end := range []int{12, 25, 27, 29, len(whole) - 16, len(whole)} {
		show(whole[:end])
	}
}
