"""Files by themselves: YAML, the container, the units of systemd."""

import re
import shutil
import tempfile
from pathlib import Path

from .tree import Failed, run

# What `systemd-analyze security` may find at most, in tenths: from 0 (all closed) to 100.
EXPOSURE = 17


def yamls(tree):
    """yamllint."""
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
    """hadolint, and what it does not know of."""
    path = tree.deploy / "container/Containerfile"
    try:
        run("hadolint", "--config", tree.deploy / "checks/hadolint.yaml", path)
    except Failed as failed:
        yield str(failed)
    text = path.read_text()
    last = text[text.rindex("\nFROM ") :]
    wanted = {
        "FROM scratch": "the image is not from scratch",
        "USER 65532:65532": "the user is not the one that the manifests name",
        "STOPSIGNAL SIGTERM": "the signal to stop is not SIGTERM",
        'ENTRYPOINT ["/tapfan"]': "the program is not what is started",
        "org.opencontainers.image.licenses": "the labels of OCI are missing",
    }
    for line, problem in wanted.items():
        if line not in last:
            yield f"{path.name}: {problem}"
    if re.search(r"^\s*(RUN|HEALTHCHECK)", last, re.MULTILINE):
        yield f"{path.name}: there is no shell in the last stage to run anything"


def units(tree):
    """systemd-analyze verify and security."""
    for unit in sorted((tree.deploy / "systemd").glob("*.service")):
        with tempfile.TemporaryDirectory() as folder:
            # The program is not installed where the checks run, and it must be there for `verify`.
            copy = Path(folder) / unit.name
            copy.write_text(unit.read_text().replace("/usr/local/bin/tapfan", str(tree.tapfan.resolve())))
            for socket in (tree.deploy / "systemd").glob("*.socket"):
                shutil.copy(socket, folder)
            try:
                # It also says what is wrong with units of the machine that this one names.
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
            yield "tapfan-user.conf makes no user tapfan"
        made = Path(root) / "run/tapfan"
        if not made.is_dir() or made.stat().st_uid != 65532:
            yield "tapfan-host.conf makes no /run/tapfan of user 65532"


def socket_folder(unit):
    """The folder of a socket that systemd holds must not go when the service ends."""
    if unit.with_suffix(".socket").exists() and "\nRuntimeDirectoryPreserve=yes\n" not in unit.read_text():
        yield f"{unit.name}: RuntimeDirectoryPreserve is not yes: the end of the service removes the socket of {unit.stem}.socket"


def stop_time(unit):
    """Time enough for the longest drain that the unit promises."""
    found = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
    if not found or int(found[1]) < 15:
        yield f"{unit.name}: TimeoutStopSec is not longer than a drain of 10 s and 2 s"
