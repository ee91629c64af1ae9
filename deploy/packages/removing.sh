#!/bin/sh
# Stops the service before its program is removed, but not before an upgrade. The argument is `remove` in
# Debian, and the number of packages that stay in RPM.
set -e
case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now tapfan.socket tapfan.service
    fi
    ;;
esac
