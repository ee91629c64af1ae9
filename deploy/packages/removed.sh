#!/bin/sh
# Forgets the units, and removes the files of the taps when Debian purges the package. Debian gives the words "remove" and
# "purge", RPM the number of packages that stay. The user of the service stays, because files may still belong to it.
set -e
case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
    fi
    ;;
purge)
    rm -rf /var/log/tapfan
    ;;
esac
