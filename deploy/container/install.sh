#!/usr/bin/env bash
# Installs what a build for musl needs without a container, Rust's target and musl's C compiler, and what try.sh needs.
set -euo pipefail

target=$(uname -m)-unknown-linux-musl
rustup target list --installed | grep --quiet --line-regexp "$target" || rustup target add "$target"
exec "$(dirname "$0")/../../tests/packages.sh" image binutils buildah ca-certificates iproute2 musl-tools
