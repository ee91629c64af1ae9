"""The files that are checked, and the objects that helm and kustomize render from them."""

import os
import re
import subprocess
from functools import cached_property
from pathlib import Path

import yaml

TOOLS = Path(os.environ["DEPLOY_CHECK_TOOLS"])

# The oldest Kubernetes that the manifests support (`sleep` of preStop), and the newest with schemas.
OLDEST, NEWEST = "1.30", "1.37"

# With these values and the overlay's Tapfile, the chart renders the objects of the overlay of the same name.
TAPFILES = {
    "deployment": "kustomize/base/Tapfile",
    "statefulset": "kustomize/overlays/statefulset/Tapfile",
    "daemonset": "kustomize/overlays/daemonset/Tapfile",
}


# The APIs of the cluster that the values file with this name is for.
APIS = {"openshift": ["--api-versions", "security.openshift.io/v1"]}

# The kinds of objects that make Pods of tapfan.
KINDS = ("Deployment", "StatefulSet", "DaemonSet")


class Failed(Exception):
    """A program failed; the text is its output."""


def run(*command, cwd=None, text=None):
    """Runs a program and returns its output, or raises Failed."""
    command = [str(word) for word in command]
    done = subprocess.run(
        command, cwd=cwd, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    if done.returncode != 0:
        raise Failed(done.stdout.strip() or f"{command[0]}: exit status {done.returncode}")
    return done.stdout


def objects_of(text):
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


class Tree:
    """The deploy/ folder and docs/runbook.md of a repository, or a broken copy of them."""

    def __init__(self, root, tapfan):
        self.root = Path(root)
        self.deploy = self.root / "deploy"
        self.tapfan = Path(tapfan)

    @property
    def chart(self):
        return self.deploy / "helm/tapfan"

    @property
    def overlays(self):
        return sorted(folder for folder in (self.deploy / "kustomize/overlays").iterdir())

    @property
    def values(self):
        return sorted((self.chart / "ci").glob("*.yaml"))

    def helm_arguments(self, values):
        arguments = [self.chart, "--values", values]
        if values.stem in TAPFILES:
            arguments += ["--set-file", f"tapfile={self.deploy / TAPFILES[values.stem]}"]
        return arguments

    def render(self, *arguments, release="tapfan"):
        """Returns the objects that `helm template` makes with these arguments, for a release with this name."""
        return objects_of(
            run("helm", "template", release, *arguments, "--namespace", "dns-obs", "--kube-version", NEWEST)
        )

    @cached_property
    def rendered(self):
        """All objects of the chart, by the name of the values file."""
        return {
            values.stem: self.render(*self.helm_arguments(values), *APIS.get(values.stem, []))
            for values in self.values
        }

    @cached_property
    def helm(self):
        """The objects that helm installs, by the name of the values file."""
        return {name: [item for item in objects if not is_hook(item)] for name, objects in self.rendered.items()}

    @cached_property
    def tests(self):
        """The objects of `helm test`, by the name of the values file."""
        return {name: [item for item in objects if is_hook(item)] for name, objects in self.rendered.items()}

    @cached_property
    def kustomize(self):
        """The rendered objects, by the name of the overlay; `sidecar` is the component of that name, in a CoreDNS."""
        folders = {folder.name: folder for folder in self.overlays} | {"sidecar": self.deploy / "checks/coredns"}
        return {name: objects_of(run("kubectl", "kustomize", folder)) for name, folder in folders.items()}

    @cached_property
    def monitoring(self):
        return objects_of(run("kubectl", "kustomize", self.deploy / "monitoring"))

    @cached_property
    def manifests(self):
        """All rendered objects, as pairs of origin and objects."""
        return (
            [(f"helm {name}", objects) for name, objects in self.helm.items()]
            + [(f"kustomize {name}", objects) for name, objects in self.kustomize.items()]
            + [("monitoring", self.monitoring)]
        )

    @cached_property
    def workloads(self):
        """Every container of tapfan in a manifest."""
        return [
            Workload(where, objects, owner, container)
            for where, objects in self.manifests
            for owner in objects
            if owner["kind"] in KINDS
            for container in containers(owner)
            if container["name"] == "tapfan"
        ]


def is_hook(item):
    return "helm.sh/hook" in item["metadata"].get("annotations", {})


def containers(owner):
    pod = owner["spec"]["template"]["spec"]
    return pod.get("initContainers", []) + pod["containers"]


def title(item):
    return f'{item["kind"]}/{item["metadata"]["name"]}'


class Workload:
    """A container of tapfan, its Pod, and the other objects of the same manifest."""

    def __init__(self, where, objects, owner, container):
        self.where = where
        self.objects = objects
        self.owner = owner
        self.container = container
        self.pod = owner["spec"]["template"]["spec"]
        self.labels = owner["spec"]["template"]["metadata"]["labels"]
        self.name = f"{where}: {title(owner)}"
        self.sidecar = container.get("restartPolicy") == "Always"

    @property
    def ports(self):
        """The port numbers, by name."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def volume(self, mount):
        """The volume of a mount: of the Pod, or made from a template of claims."""
        templates = self.owner["spec"].get("volumeClaimTemplates", [])
        claims = [{"name": claim["metadata"]["name"], "claim": claim["spec"]} for claim in templates]
        return next(volume for volume in self.pod["volumes"] + claims if volume["name"] == mount["name"])

    @cached_property
    def tapfile(self):
        """The file that is mounted at /etc/tapfan/Tapfile."""
        mount = next(mount for mount in self.container["volumeMounts"] if mount["mountPath"] == "/etc/tapfan")
        name = self.volume(mount)["configMap"]["name"]
        maps = [item for item in self.objects if title(item) == f"ConfigMap/{name}"]
        return maps[0]["data"]["Tapfile"]

    @property
    def spools(self):
        """The folder of each `spool` line of the Tapfile, and its size as written."""
        return re.findall(r"^\s*spool\s+(\S+)\s+(\S+)", self.tapfile, re.MULTILINE)

    @cached_property
    def drain(self):
        """The drain time in seconds."""
        words = [line.split() for line in self.tapfile.splitlines()]
        given = [line[1] for line in words if line[:1] == ["drain"]]
        return int(given[-1].removesuffix("s")) if given else 10

    def services(self):
        return [
            item
            for item in self.objects
            if item["kind"] == "Service" and item["spec"].get("selector", {}).items() <= self.labels.items()
        ]
