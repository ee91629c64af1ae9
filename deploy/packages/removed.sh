#!/bin/sh
# Lets systemd forget the units. When Debian purges the package, also removes the files with taps and the spools. The argument
# is `remove` or `purge` in Debian, and the number of packages that stay in RPM. The user of the service stays, because files
# may still belong to it.
set -e
case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
    fi
    ;;
purge)
    rm -rf /var/log/tapfan /var/lib/tapfan
    ;;
esac
