"""Checks of the workflows in .github/, of the scripts in deploy/, and of what the workflow of releases makes."""

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
    named = [tree.deploy / "check", tree.deploy / "checks/tools"]
    try:
        run("shellcheck", *named, *sorted(tree.deploy.rglob("*.sh")))
    except Failed as failed:
        yield str(failed)


def notes(tree):
    """The text of a release is the section of its version, and there is no release without one."""
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
    "usr/share/doc/tapfan/Tapfile": "listen ",
    "usr/share/doc/tapfan/copyright": "Apache",
}


def packages(tree):
    """The packages contain the program, its units and its user, and their scripts pass shellcheck."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run(tree.deploy / "packages/build.sh", "/bin/true", "aarch64", folder)
        deb, rpm = next(folder.glob("*.deb")), next(folder.glob("*.rpm"))
        version = re.search('^version = "(.*)"$', (tree.root / "Cargo.toml").read_text(), re.MULTILINE)[1]
        for name, told, wanted in [
            (deb.name, run("dpkg-deb", "--field", deb, "Version", "Architecture"), f"Version: {version}\nArchitecture: arm64"),
            (rpm.name, run("rpm", "-qp", "--queryformat", "%{VERSION} %{ARCH}", rpm), f"{version} aarch64"),
        ]:
            if told.strip() != wanted:
                yield f"{name}: {told.strip()!r} is not {wanted!r}"
        run("dpkg-deb", "--extract", deb, folder / "deb")
        for path, word in PACKAGED.items():
            there = folder / "deb" / path
            if not there.exists():
                yield f"{deb.name}: there is no /{path}"
            elif word and word not in there.read_text():
                yield f"{deb.name}: /{path} does not contain {word!r}"
        listed = run("rpm", "-qpl", rpm).split()
        yield from (f"{rpm.name}: there is no /{path}" for path in PACKAGED if f"/{path}" not in listed)
        scripts = run("rpm", "-qp", "--scripts", rpm)
        for word in ("systemd-sysusers tapfan.conf", "disable --now tapfan.socket"):
            if word not in scripts:
                yield f"{rpm.name}: no script contains {word!r}"
    said = run(tree.tapfan, "check", "--elsewhere", tree.deploy / "packages/Tapfile")
    if "warning: " in said:
        yield f"packages/Tapfile: {said}"
