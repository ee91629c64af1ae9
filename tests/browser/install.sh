#!/usr/bin/env bash
# Installs the programs that the browser tests run: Chromium and its driver, and a typeface for the
# screenshot.
exec "$(dirname "$0")/../packages.sh" browser chromium chromium-driver fonts-roboto-unhinted
