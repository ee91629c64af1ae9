#!/bin/sh
# Stops the service before its program is removed, but not before an upgrade. Debian gives the word "remove", RPM the number of
# packages that stay.
set -e
case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now tapfan.socket tapfan.service
    fi
    ;;
esac
