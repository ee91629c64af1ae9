"""Checks of the workflows in .github/, of the scripts in deploy/, and of the files that the release workflow makes."""

import json
import re
import tempfile
from pathlib import Path

import yaml

from .tree import Failed, run


def workflows(tree):
    """Runs actionlint and zizmor. Every action is fixed by the digest of a commit, with its version beside it."""
    folder = tree.root / ".github"
    files = sorted((folder / "workflows").glob("*.yaml"))
    try:
        run("actionlint", *files)
    except Failed as failed:
        yield str(failed)
    try:
        run("zizmor", "--offline", "--quiet", "--no-progress", folder)
    except Failed as failed:
        yield str(failed)
    for path in files:
        for line in path.read_text().splitlines():
            used = re.search(r"uses: (.*)", line)
            if used and not re.fullmatch(r"\./\S+( #.*)?|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used[1]):
                yield f"{path.name}: {used[1]}: an action needs the digest of a commit, and its version as a comment"
    for path in sorted((folder / "ISSUE_TEMPLATE").glob("*.yaml")):
        form = yaml.safe_load(path.read_text())
        if not {"name", "description", "body"} <= form.keys():
            yield f"{path.name}: name, description or body is missing"


def scripts(tree):
    """Runs shellcheck."""
    named = [tree.deploy / name for name in ("check", "checks/tools", "package", "packages/systemctl")]
    try:
        run("shellcheck", *named, *sorted(tree.deploy.rglob("*.sh")))
    except Failed as failed:
        yield str(failed)


def notes(tree):
    """The text of a release is the section of its version in CHANGELOG.md. Without such a section, there is no release."""
    script = tree.deploy / "release/notes.sh"
    with tempfile.TemporaryDirectory() as folder:
        changelog = Path(folder) / "CHANGELOG.md"
        changelog.write_text(CHANGELOG)
        told = run("env", f"CHANGELOG={changelog}", script, "0.2.0")
        if told != "### Added\n\n- Two.\n":
            yield f"the text of version 0.2.0 is {told!r}"
        for version in ("0.3.0", "0.1.0", "0"):
            try:
                yield f"version {version} has the text {run('env', f'CHANGELOG={changelog}', script, version)!r}"
            except Failed as failed:
                if f"no section for {version}" not in str(failed):
                    yield str(failed)


CHANGELOG = """\
# Changelog

## [Unreleased]

- Three.

## [0.2.0] - 2026-12-01

### Added

- Two.

## [0.1.0]

[0.2.0]: https://example.net
"""


def release_chart(tree):
    """The chart of a release names its image."""
    digest = f"sha256:{'1' * 64}"
    with tempfile.TemporaryDirectory() as folder:
        run(tree.deploy / "release/chart.sh", "ghcr.io/example/tapfan", digest, folder)
        packed = next(Path(folder).glob("*.tgz"))
        tapfile = tree.deploy / "kustomize/base/Tapfile"
        objects = tree.render(packed, "--set-file", f"tapfile={tapfile}")
    images = {
        container["image"]
        for item in objects
        if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    if images != {f"ghcr.io/example/tapfan@{digest}"}:
        yield f"the chart of a release has the image {images}"


# The files of a package, and a word that each must contain.
PACKAGED = {
    "usr/bin/tapfan": "",
    "usr/lib/systemd/system/tapfan.service": "\nExecStart=/usr/bin/tapfan run ",
    "usr/lib/systemd/system/tapfan.socket": "ListenStream=",
    "usr/lib/sysusers.d/tapfan.conf": "u tapfan ",
    "usr/share/doc/tapfan/README.md": "tapfan",
    "usr/share/doc/tapfan/changelog.gz": "",
    "usr/share/doc/tapfan/copyright": "Apache",
    "usr/share/doc/tapfan/docs/configuration.md": "## listen",
    "usr/share/man/man1/tapfan.1.gz": "",
    "usr/share/man/man5/Tapfile.5.gz": "",
    "usr/share/bash-completion/completions/tapfan": "complete -F _tapfan",
    "usr/share/fish/vendor_completions.d/tapfan.fish": "complete -c tapfan",
    "etc/tapfan/Tapfile": "listen ",
}

# A script that is packed instead of the program, because the program takes long to compress.
PROGRAM = """\
#!/bin/sh
exec {} "$@"
"""


def packages(tree):
    """The packages contain the program, its units, its user and its documents; the Tapfile is a conffile; the SBOM has crates."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        program = folder / "tapfan"
        program.write_text(PROGRAM.format(tree.tapfan.resolve()))
        program.chmod(0o755)
        run(tree.deploy / "package", program, folder)
        run("sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS", cwd=folder)
        yield from package_files(tree, next(folder.glob("*.deb")), next(folder.glob("*.rpm")), folder)
        yield from sbom(next(folder.glob("*.cdx.json")))
    said = run(tree.tapfan, "check", "--elsewhere", tree.deploy / "packages/Tapfile")
    if "warning: " in said:
        yield f"packages/Tapfile: {said}"


def package_files(tree, deb, rpm, folder):
    version = re.search('^version = "(.*)"$', (tree.root / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for name, told in [
        (deb.name, run("dpkg-deb", "--field", deb, "Version")),
        (rpm.name, run("rpm", "-qp", "--queryformat", "%{VERSION}", rpm)),
    ]:
        if told.strip() != version:
            yield f"{name}: the version is {told.strip()!r}"
    run("dpkg-deb", "--extract", deb, folder / "deb")
    for path, word in PACKAGED.items():
        there = folder / "deb" / path
        if not there.exists():
            yield f"{deb.name}: there is no /{path}"
        elif word and word not in there.read_text():
            yield f"{deb.name}: /{path} does not contain {word!r}"
    listed = run("rpm", "-qpl", rpm).split()
    yield from (f"{rpm.name}: there is no /{path}" for path in PACKAGED if f"/{path}" not in listed)
    run("dpkg-deb", "--control", deb, folder / "control")
    marks = folder / "control/conffiles"
    for name, marked in [
        (deb.name, marks.read_text() if marks.exists() else ""),
        (rpm.name, run("rpm", "-qpc", rpm)),
    ]:
        if marked.split() != ["/etc/tapfan/Tapfile"]:
            yield f"{name}: /etc/tapfan/Tapfile is no conffile"
    scripts = run("rpm", "-qp", "--scripts", rpm)
    for word in ("systemd-sysusers tapfan.conf", "disable --now tapfan.socket", "try-restart tapfan.service"):
        if word not in scripts:
            yield f"{rpm.name}: no script contains {word!r}"


def sbom(path):
    """The crates that the program always has are listed, with their hashes and licences, and those of tests are not."""
    document = json.loads(path.read_text())
    crates = {crate["name"]: crate for crate in document["components"]}
    if not {"tokio", "rustls", "aws-lc-sys"} <= crates.keys() or {"insta", "proptest"} & crates.keys():
        yield f"{path.name}: the crates are {sorted(crates)}"
    for crate in crates.values():
        if not crate.get("hashes") or not crate.get("licenses"):
            yield f"{path.name}: {crate['name']} has no hash or no licence"
