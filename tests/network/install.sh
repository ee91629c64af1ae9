#!/usr/bin/env bash
# Installs `ip` and `strace`, which the network tests need.
exec "$(dirname "$0")/../packages.sh" network iproute2 strace
