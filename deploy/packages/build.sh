#!/usr/bin/env bash
# Makes a .deb and a .rpm of a static program.
#
#   deploy/packages/build.sh target/x86_64-unknown-linux-musl/release/tapfan x86_64 FOLDER
#
# Needs nfpm 2.45.2, or Go to build it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deploy=$(dirname "$here")
program=$(realpath "$1")
folder=$(realpath "$3")
CONTENT=$(mktemp --directory)
trap 'rm --recursive --force "$CONTENT"' EXIT
VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$deploy/../Cargo.toml" | head --lines=1)
case $2 in
x86_64) ARCHITECTURE=amd64 ;;
aarch64) ARCHITECTURE=arm64 ;;
*) echo "no packages for the architecture $2" >&2 && exit 1 ;;
esac
export ARCHITECTURE CONTENT VERSION

nfpm=$(command -v nfpm || true)
if [[ -z $nfpm ]]; then
    GOBIN=$CONTENT go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
    nfpm=$CONTENT/nfpm
fi

install --mode=0755 "$program" "$CONTENT/tapfan"
# Packages install the program in /usr/bin. The comment at the top says how to install the unit by hand.
sed --expression '1,/^\[Unit\]$/{/^#/d}' --expression 's|/usr/local/bin/tapfan|/usr/bin/tapfan|' "$deploy/systemd/tapfan.service" >"$CONTENT/tapfan.service"
install --mode=0644 "$deploy/systemd/tapfan.socket" "$here/Tapfile" "$CONTENT/"
install --mode=0644 "$deploy/systemd/tapfan-user.conf" "$CONTENT/tapfan.conf"
install --mode=0644 "$deploy/../LICENSE" "$CONTENT/copyright"
install --mode=0755 "$here/installed.sh" "$here/removing.sh" "$CONTENT/"
# nfpm does not replace variables in every path.
sed "s|\${CONTENT}|$CONTENT|" "$here/nfpm.yaml" >"$CONTENT/nfpm.yaml"
for packager in deb rpm; do
    "$nfpm" package --config "$CONTENT/nfpm.yaml" --packager "$packager" --target "$folder"
done
