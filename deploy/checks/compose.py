"""Checks of the compose file: its content, and whether its router reaches its collector."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import jsonschema
import yaml

from .router import DEADLINE, free_port, stop
from .tree import TOOLS, Failed, run


def compose(tree):
    """The compose file matches the schema of the compose specification. It is safe and consistent, its Tapfile is valid,
    and its commands bring the sink up."""
    folder = tree.deploy / "compose"
    whole = yaml.safe_load((folder / "compose.yaml").read_text())
    schema = json.loads((TOOLS / "compose-spec.json").read_text())
    for problem in jsonschema.Draft202012Validator(schema).iter_errors(whole):
        place = ".".join(str(step) for step in problem.absolute_path)
        yield f"compose.yaml: {place}: {problem.message}"
    services = whole["services"]
    router, collector = services["tapfan"], services["collector"]
    for name, service in services.items():
        if service["image"] != "tapfan" and not re.search("@sha256:[0-9a-f]{64}$", service["image"]):
            yield f"{name}: the image has no digest"
        if service.get("read_only") is not True:
            yield f"{name}: read_only is not true"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} can be reached from other machines"
    for place in (router["build"]["context"], f'{router["build"]["context"]}/{router["build"]["dockerfile"]}'):
        if not (folder / place).exists():
            yield f"{place} does not exist"
    text = (folder / "tapfan/Tapfile").read_text()
    drain = int(re.search(r"^drain (\d+)s$", text, re.MULTILINE)[1])
    grace = int(router["stop_grace_period"].removesuffix("s"))
    if grace <= drain + 2:
        yield f"stop_grace_period {grace} is not longer than the {drain + 2} s up to the end of the drain"
    socket = re.search(r"^listen unix://(\S+)$", text, re.MULTILINE)[1]
    if f"dnstap {socket} full" not in (folder / "Corefile").read_text():
        yield f"the Corefile does not send to {socket}"
    probes = re.search(r"^probes 0.0.0.0:(\d+)$", text, re.MULTILINE)[1]
    if f"127.0.0.1:{probes}:{probes}/tcp" not in router["ports"]:
        yield f"the port {probes} of `probes` is not in the ports of tapfan"
    try:
        together(tree, text, router["command"], collector["command"])
    except Failed as failed:
        yield str(failed)


def together(tree, text, router, collector):
    """Runs both commands on loopback until the sink is up."""
    with tempfile.TemporaryDirectory() as folder:
        admin, port = free_port(), free_port()
        tapfile = Path(folder) / "Tapfile"
        text = text.replace("/run/tapfan", folder).replace("//collector:6000", f"//127.0.0.1:{port}")
        text = re.sub(r"0\.0\.0\.0:\d+", f"127.0.0.1:{free_port()}", text)
        tapfile.write_text(f"{text}\nadmin 127.0.0.1:{admin}\n")
        said = run(tree.tapfan, "check", tapfile)
        if "warning: " in said:
            raise Failed(said)
        commands = [
            [word.replace("0.0.0.0:6000", f"127.0.0.1:{port}") for word in collector],
            [word.replace("/etc/tapfan/Tapfile", str(tapfile)) for word in router],
        ]
        log = Path(folder) / "log"
        with log.open("w") as output:
            processes = [
                subprocess.Popen([tree.tapfan, *words], stdout=output, stderr=output, env=os.environ)
                for words in commands
            ]
        try:
            end = time.monotonic() + DEADLINE
            while True:
                try:
                    run(tree.tapfan, "status", "--admin", f"127.0.0.1:{admin}", "--fail-on", "down,starting")
                    return
                except Failed as failed:
                    if time.monotonic() > end or any(process.poll() is not None for process in processes):
                        raise Failed(f"the sink does not come up: {failed}\n{log.read_text()}") from failed
                    time.sleep(0.05)
        finally:
            for process in processes:
                stop(process)
