#!/usr/bin/env bash
# Installs what a build for musl needs without a container: Rust's target and musl's C compiler, from
# Debian's packages. Needs root, or sudo without a password. Quick if everything is installed.
set -euo pipefail

target=$(uname -m)-unknown-linux-musl
rustup target list --installed | grep --quiet --line-regexp "$target" || rustup target add "$target"
if command -v musl-gcc >/dev/null; then
    echo "container: musl-gcc is installed"
    exit 0
fi
as_root=()
((EUID == 0)) || as_root=(sudo --non-interactive)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2)
echo "container: installing musl-tools"
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends musl-tools >/dev/null
