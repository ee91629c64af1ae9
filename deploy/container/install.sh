#!/usr/bin/env bash
# Installs the Rust target and the C compiler for a build with musl outside of a container, and the tools that try.sh needs.
set -euo pipefail

target=$(uname -m)-unknown-linux-musl
rustup target list --installed | grep --quiet --line-regexp "$target" || rustup target add "$target"
exec "$(dirname "$0")/../../tests/packages.sh" image binutils buildah ca-certificates iproute2 musl-tools
