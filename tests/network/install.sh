#!/usr/bin/env bash
# Installs `ip`, which the network tests need.
exec "$(dirname "$0")/../packages.sh" network iproute2
