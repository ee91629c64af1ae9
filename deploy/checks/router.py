"""A tapfan that runs with the Tapfile of a manifest, on loopback ports and in temporary folders."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .tree import Failed, run

DEADLINE = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process):
    """Ends a process by SIGTERM, and by SIGKILL after the deadline."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Stage:
    """A folder with the files that a workload's Tapfile names, and a copy of the Tapfile that uses these files."""

    def __init__(self, workload, folder):
        self.folder = Path(folder)
        self.ports = {}
        text = workload.tapfile
        for mount in workload.container["volumeMounts"]:
            path = mount["mountPath"]
            here = self.folder / path.strip("/").replace("/", "-")
            here.mkdir()
            volume = workload.volume(mount)
            if "secret" in volume or ("configMap" in volume and path != "/etc/tapfan"):
                certificate(here)
                password(here)
            if path != "/etc/tapfan":
                text = text.replace(f"{path}/", f"{here}/")
        text = re.sub(r"0\.0\.0\.0:(\d+)", self.on_loopback, text)
        if not re.search(r"^admin ", text, re.MULTILINE):
            text += f"\nadmin 127.0.0.1:{free_port()}\n"
        self.tapfile = self.folder / "Tapfile"
        self.tapfile.write_text(text)
        self.environment = {
            variable["name"]: variable["value"] for variable in workload.container.get("env", []) if "value" in variable
        }

    def on_loopback(self, found):
        port = self.ports.setdefault(int(found[1]), free_port())
        return f"127.0.0.1:{port}"


def certificate(folder):
    """Makes a certificate and its key, named as in a Secret of Kubernetes."""
    run(
        *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost".split(),
        *("-keyout", folder / "tls.key", "-out", folder / "tls.crt"),
    )
    (folder / "ca.crt").write_text((folder / "tls.crt").read_text())


def password(folder):
    """Makes a file with a password, with the permissions of a Secret that Kubernetes mounts."""
    file = folder / "password"
    file.write_text("secret\n")
    file.chmod(0o440)


class Router:
    """A context that runs tapfan. At the end of the context, tapfan must exit with status 0 on SIGTERM."""

    def __init__(self, tapfan, workload):
        self.tapfan = tapfan
        self.workload = workload

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.stage = Stage(self.workload, self.temporary.name)
        arguments = [
            word.replace("/etc/tapfan/Tapfile", str(self.stage.tapfile)) for word in self.workload.container["args"]
        ]
        self.log = Path(self.temporary.name) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [self.tapfan, *arguments], stderr=log, env={**os.environ, **self.stage.environment}
            )
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.temporary.cleanup()

    def wait_until_bound(self):
        """Waits until every port of the Tapfile is bound. Raises Failed, with the log, if tapfan exits or takes too long."""
        end = time.monotonic() + DEADLINE
        while not all(self.answers(port) for port in self.stage.ports):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"tapfan does not run:\n{self.log.read_text()}")
            time.sleep(0.02)

    def answers(self, port):
        """Returns whether tapfan listens at the port that replaces this port of the manifest."""
        if port not in self.stage.ports:
            return False
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex(("127.0.0.1", self.stage.ports[port])) == 0

    def get(self, port, path):
        """Returns status and body of a request to the port that replaces this port of the manifest."""
        if port not in self.stage.ports:
            return None, f"nothing in the Tapfile is at port {port}"
        address = f"http://127.0.0.1:{self.stage.ports[port]}{path}"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return None, str(error)
