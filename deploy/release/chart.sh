#!/usr/bin/env bash
# Packs the chart with the image of a release as its default.
#
#   deploy/release/chart.sh ghcr.io/example/tapfan sha256:… FOLDER
set -euo pipefail

repository=$1 digest=$2 folder=$3
chart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../helm/tapfan" && pwd)
work=$(mktemp --directory)
trap 'rm --recursive --force "$work"' EXIT
cp --recursive "$chart" "$work/"
values=$work/tapfan/values.yaml
sed --in-place --expression "s|^  repository: ''$|  repository: $repository|" --expression "s|^  digest: ''$|  digest: $digest|" "$values"
grep --quiet --fixed-strings --line-regexp "  repository: $repository" "$values"
grep --quiet --fixed-strings --line-regexp "  digest: $digest" "$values"
helm package "$work/tapfan" --destination "$folder"
