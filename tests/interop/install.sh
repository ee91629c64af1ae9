#!/usr/bin/env bash
# Installs the DNS servers and dnstap tools that the interop tests run.
set -euo pipefail

packages=(
    bind9
    bind9-dnsutils
    default-jdk-headless
    dnsdist
    dnsperf
    fstrm-bin
    golang-github-dnstap-golang-dnstap-cli
    kcat
    knot
    knot-module-dnstap
    maven
    pdns-recursor
    prometheus
    systemd
    tcpdump
    tmux
    unbound
    util-linux
)

# Builds CoreDNS from its source, because Debian has no package of it, and a collector with the reader of golang-dnstap,
# because Debian's dnstap cannot connect to a server. Go fetches the modules and, if it is too old, a
# newer Go. Does nothing if the program is up to date.
build_coredns() {
    local folder
    folder=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
    PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
    if ! command -v go >/dev/null; then
        echo 'interop: CoreDNS needs Go 1.21 or later, see https://go.dev/doc/install' >&2
        return 1
    fi
    (cd "$folder/coredns" && go build -o ../../../target/interop/coredns . &&
        go build -o ../../../target/interop/follower ./follower)
    echo 'interop: CoreDNS is built'
}

# Fetches Kafka from Maven Central, 45 MB, because Debian does not package it, and builds the programs that the tests
# use to run Kafka. Does nothing if they are up to date.
build_kafka() {
    local java kafka
    java=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/kafka/java
    kafka=$(realpath "$java/../../../..")/target/interop/kafka
    if [[ ! $kafka/lib/pom.xml -nt $java/pom.xml ]]; then
        rm --recursive --force "${kafka:?}/lib"
        (cd "$java" && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$kafka/lib")
        cp "$java/pom.xml" "$kafka/lib"
    fi
    if [[ ! $kafka/classes/Client.class -nt $java/Client.java || ! $kafka/classes/Broker.class -nt $java/Broker.java ]]; then
        javac -nowarn -classpath "$kafka/lib/*" -d "$kafka/classes" "$java"/*.java
    fi
    echo 'interop: Kafka is installed'
}

states=$(dpkg-query --show --showformat='${db:Status-Status}\n' "${packages[@]}" 2>&1 | sort --unique || true)
if [[ $states == installed ]]; then
    "$(dirname "$0")/../packages.sh" interop "${packages[@]}"
    build_coredns
    build_kafka
    exit
fi
as_root=()
((EUID == 0)) || as_root=(sudo --non-interactive)

# Without a policy, the package of each DNS server would start the server on port 53, but the tests start their own
# servers. So this writes a policy, unless the machine already has one.
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

"$(dirname "$0")/../packages.sh" interop "${packages[@]}"

# Keeps systemd from starting the servers at the next boot.
if [[ -n $made_policy && -d /run/systemd/system ]]; then
    "${as_root[@]}" systemctl --quiet disable named.service unbound.service knot.service dnsdist.service \
        pdns-recursor.service prometheus.service 2>/dev/null || true
fi

build_coredns
build_kafka
