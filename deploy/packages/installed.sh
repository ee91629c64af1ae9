#!/bin/sh
# Creates the user of the service. The service does not start by itself, because an administrator should first read where the
# Tapfile sends the taps. A running tapfan is restarted after an upgrade.
set -e
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers tapfan.conf
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart tapfan.service
fi
