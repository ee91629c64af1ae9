#!/usr/bin/env bash
# Prints the section of CHANGELOG.md for a version: the text of the release.
#
#   deploy/release/notes.sh 0.1.0
set -euo pipefail

version=$1
changelog=${CHANGELOG:-$(dirname "${BASH_SOURCE[0]}")/../../CHANGELOG.md}
notes=$(awk -v heading="## [$version]" '
    index($0, "## [") == 1 { inside = index($0, heading) == 1; next }
    /^\[[^]]+\]: / { next }
    inside
' "$changelog")
if [[ -z ${notes//[[:space:]]/} ]]; then
    echo "CHANGELOG.md has no section for $version, or it is empty" >&2
    exit 1
fi
# The first lines of the section may be empty.
sed '/./,$!d' <<<"$notes"
