"""Checks of single files: YAML, the Containerfile, the systemd units."""

import re
import shutil
import tempfile
from pathlib import Path

from .tree import Failed, run

# The highest exposure that the check accepts from `systemd-analyze security`, in tenths: from 0 (all closed) to 100.
EXPOSURE = 17


def yamls(tree):
    """Runs yamllint."""
    files = [
        path
        for path in sorted(tree.deploy.rglob("*.yaml"))
        if "templates" not in path.parts and "node_modules" not in path.parts
    ]
    try:
        run("yamllint", "--strict", "--config-file", tree.deploy / "checks/yamllint.yaml", *files)
    except Failed as failed:
        yield str(failed)


def container(tree):
    """Runs hadolint, and checks what hadolint does not check."""
    path = tree.deploy / "container/Containerfile"
    try:
        run("hadolint", "--config", tree.deploy / "checks/hadolint.yaml", path)
    except Failed as failed:
        yield str(failed)
    text = path.read_text()
    last = text[text.rindex("\nFROM ") :]
    wanted = {
        "FROM scratch": "the image is not from scratch",
        "USER 65532:65532": "the user differs from the manifests",
        "STOPSIGNAL SIGTERM": "STOPSIGNAL is not SIGTERM",
        'ENTRYPOINT ["/tapfan"]': "the entry point is not /tapfan",
        "org.opencontainers.image.licenses": "the OCI labels are missing",
        'org.opencontainers.image.source="${SOURCE}"': "the label of the source is missing",
    }
    for line, problem in wanted.items():
        if line not in last:
            yield f"{path.name}: {problem}"
    for base in re.findall(r"^FROM (?!scratch)(\S+)", text, re.MULTILINE):
        if not re.search("@sha256:[0-9a-f]{64}$", base):
            yield f"{path.name}: {base} has no digest"
    if re.search(r"^\s*(RUN|HEALTHCHECK)", last, re.MULTILINE):
        yield f"{path.name}: the last stage has no shell, so RUN and HEALTHCHECK cannot work"


def versions(tree):
    """The chart and the image have the version of the program."""
    version = re.search('^version = "(.*)"$', (tree.root / "Cargo.toml").read_text(), re.MULTILINE)[1]
    chart = (tree.chart / "Chart.yaml").read_text()
    image = (tree.deploy / "container/Containerfile").read_text()
    for where, text, wanted in [
        ("Chart.yaml", chart, f"version: {version}"),
        ("Chart.yaml", chart, f"appVersion: {version}"),
        ("Containerfile", image, f"ARG VERSION={version}"),
    ]:
        if wanted not in text.splitlines():
            yield f"{where} does not have `{wanted}`, which Cargo.toml has"


def units(tree):
    """Runs systemd-analyze verify and security."""
    for unit in sorted((tree.deploy / "systemd").glob("*.service")):
        with tempfile.TemporaryDirectory() as folder:
            # `verify` needs the program at the path in the unit, but the program is not installed on this machine.
            copy = Path(folder) / unit.name
            copy.write_text(unit.read_text().replace("/usr/local/bin/tapfan", str(tree.tapfan.resolve())))
            for socket in (tree.deploy / "systemd").glob("*.socket"):
                shutil.copy(socket, folder)
            try:
                # `verify` also reports problems of other units on this machine, if the checked unit refers to them.
                said = run("systemd-analyze", "verify", "--man=no", *sorted(Path(folder).iterdir()))
                yield from (line for line in said.splitlines() if unit.stem in line)
            except Failed as failed:
                yield f"{unit.name}: {failed}"
            try:
                run(
                    *("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager"),
                    copy,
                )
            except Failed as failed:
                yield f"{unit.name}: {failed}"
        yield from stop_time(unit)
        yield from socket_folder(unit)
        yield from folders(unit)
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "etc").mkdir()
        try:
            run("systemd-sysusers", f"--root={root}", tree.deploy / "systemd/tapfan-user.conf")
            run("systemd-tmpfiles", "--create", f"--root={root}", tree.deploy / "systemd/tapfan-host.conf")
        except Failed as failed:
            yield str(failed)
            return
        users = (Path(root) / "etc/passwd").read_text()
        if not re.search("^tapfan:", users, re.MULTILINE):
            yield "tapfan-user.conf creates no user tapfan"
        for folder, mode in [("run/tapfan", 0o755), ("var/lib/tapfan", 0o700)]:
            made = Path(root) / folder
            if not made.is_dir() or made.stat().st_uid != 65532:
                yield f"tapfan-host.conf creates no /{folder} for user 65532"
            elif made.stat().st_mode & 0o777 != mode:
                yield f"tapfan-host.conf: the mode of /{folder} is not {mode:o}"


def socket_folder(unit):
    """Checks that the folder of a systemd socket is not removed when the service ends."""
    if unit.with_suffix(".socket").exists() and "\nRuntimeDirectoryPreserve=yes\n" not in unit.read_text():
        yield f"{unit.name}: RuntimeDirectoryPreserve is not yes: stopping the service removes the socket of {unit.stem}.socket"


def folders(unit):
    """Checks that the unit has the folders for files and for spools, which the documents and the packages name."""
    text = unit.read_text()
    for setting in ("LogsDirectory=tapfan", "StateDirectory=tapfan", "StateDirectoryMode=0700"):
        if f"\n{setting}\n" not in text:
            yield f"{unit.name} does not have {setting}"


def stop_time(unit):
    """Checks that TimeoutStopSec is longer than a drain."""
    found = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
    if not found or int(found[1]) < 15:
        yield f"{unit.name}: TimeoutStopSec is not longer than a drain of 10 s plus 2 s"
