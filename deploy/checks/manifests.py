"""Checks of the objects that kustomize and helm render: schemas, rules of this project, and that both render the same."""

import copy
import difflib
import json
import re

import kubernetes_validate
import yaml

from .tree import KINDS, NEWEST, OLDEST, Workload, containers, title

# Objects that passed their schema. They are not checked again, because equal objects occur often and the schemas are
# large.
VALID = set()

OPERATOR = "monitoring.coreos.com/v1"

# Rules that a values file of the chart breaks on purpose.
EXCEPT = {
    "helm host": {"hostNetwork", "NetworkPolicy", "ServiceAccount", "automountServiceAccountToken"},
    "helm openshift": {"runAsUser", "runAsGroup"},
}


def schemas(tree):
    """Every object of Kubernetes itself matches its schema, without unknown fields."""
    tests = [(f"helm test {name}", objects) for name, objects in tree.tests.items()]
    for where, objects in tree.manifests + tests:
        for item in objects:
            if item["apiVersion"] == OPERATOR:
                continue
            for version in (OLDEST, NEWEST):
                key = version + json.dumps(item, sort_keys=True)
                if key in VALID:
                    continue
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                    VALID.add(key)
                except kubernetes_validate.ValidationError as error:
                    place = ".".join(str(step) for step in error.path)
                    yield f"{where}: {title(item)} ({version}): {place}: {error.message}"
                except kubernetes_validate.SchemaNotFoundError as error:
                    yield f"{where}: {error.message}"


def same(tree):
    """The chart and the kustomization render the same objects."""
    for name, objects in tree.kustomize.items():
        if name in tree.helm:
            yield from difflib.unified_diff(
                canonical(objects), canonical(tree.helm[name]), f"kustomize {name}", f"helm {name}", lineterm="", n=2
            )


def canonical(objects):
    """Returns the objects as lines in a fixed order, without the labels of the tool that rendered them."""
    texts = {}
    for item in copy.deepcopy(objects):
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            item["metadata"].get("labels", {}).pop(label, None)
        texts[title(item)] = item
    return yaml.safe_dump(texts).splitlines()


def rules(tree):
    """Checks what this project promises about its Pods."""
    seen = set()
    for workload in tree.workloads:
        seen.add(workload.owner["kind"] + (" sidecar" if workload.sidecar else ""))
        for rule, problem in security(workload) + around(workload):
            if rule not in EXCEPT.get(workload.where, ()):
                yield f"{workload.name}: {problem}"
        for problem in lifecycle(workload) + ports(workload) + spools(workload):
            yield f"{workload.name}: {problem}"
    for kind in (*KINDS, "Deployment sidecar"):
        if kind not in seen:
            yield f"there is no tapfan in a {kind}"


def security(workload: Workload):
    """Checks the Pod Security Standard "restricted", and more. A problem comes with the name of its rule."""
    context = {**workload.pod.get("securityContext", {}), **workload.container.get("securityContext", {})}
    wanted = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    problems = [(key, f"{key} is not {value}") for key, value in wanted.items() if context.get(key) != value]
    for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
        if workload.pod.get(forbidden):
            problems.append((forbidden, f"{forbidden} is set"))
    if not workload.sidecar and workload.pod.get("automountServiceAccountToken") is not False:
        problems.append(("automountServiceAccountToken", "automountServiceAccountToken is not false"))
    resources = workload.container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        problems.append(("resources", "requests for cpu and memory, or a limit for memory, are missing"))
    for mount in workload.container["volumeMounts"]:
        if "subPath" in mount:
            problems.append(("subPath", f'{mount["mountPath"]} is mounted with subPath and would never change'))
    return problems


def lifecycle(workload: Workload):
    """Checks the probes, preStop, and that the grace period is long enough."""
    problems = []
    container = workload.container
    if container.get("livenessProbe", {}).get("httpGet", {}).get("path") != "/livez":
        problems.append("livenessProbe does not use /livez")
    if workload.sidecar:
        held = {"readinessProbe", "startupProbe"} & container.keys()
        problems += [f"{probe} of the sidecar can keep CoreDNS from serving" for probe in held]
        others = 6  # Seconds for the `lameduck` of CoreDNS and for its exit.
    else:
        if container.get("readinessProbe", {}).get("httpGet", {}).get("path") != "/readyz":
            problems.append("readinessProbe does not use /readyz")
        others = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if workload.owner["kind"] != "DaemonSet" and others < 1:
            problems.append("there is no preStop sleep")
    grace = workload.pod.get("terminationGracePeriodSeconds", 30)
    needed = others + workload.drain + 2
    if grace <= needed:
        problems.append(f"terminationGracePeriodSeconds {grace} is not longer than the {needed} s up to the end of the drain")
    return problems


def ports(workload: Workload):
    """Checks that the names of ports exist in the container."""
    names = workload.ports.keys()
    problems = []
    for probe in ("livenessProbe", "readinessProbe"):
        asked = workload.container.get(probe, {}).get("httpGet", {}).get("port")
        if asked is not None and asked not in names:
            problems.append(f"{probe} uses port {asked}, which the container does not have")
    for service in workload.services():
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in names:
                problems.append(f'{title(service)} leads to port {port["targetPort"]}, which the container does not have')
    for policy in workload.objects:
        if policy["kind"] == "NetworkPolicy":
            for rule in policy["spec"]["ingress"]:
                for port in rule["ports"]:
                    if port["port"] not in names:
                        problems.append(f'{title(policy)} names port {port["port"]}, which the container does not have')
    return problems


def spools(workload: Workload):
    """Checks that the folders of spools are on a volume that tapfan can write to, and that the volume is large enough."""
    problems = []
    needed = {}
    for folder, size in workload.spools:
        parent, _, name = folder.rpartition("/")
        mount = next((mount for mount in workload.container["volumeMounts"] if mount["mountPath"] == parent), None)
        if mount is None or not name:
            problems.append(f"the spool {folder} is not directly in the folder of a volume")
            continue
        if mount.get("readOnly"):
            problems.append(f"the volume of the spool {folder} is read-only")
        volume = workload.volume(mount)
        # Damaged files do not count against SIZE.
        needed.setdefault(parent, [volume, 0])[1] += quantity(size) + (256 << 20)
        # The kubelet gives a claim to this group. An emptyDir is writable for everyone, a hostPath for its owner.
        if "claim" in volume and not workload.pod.get("securityContext", {}).get("fsGroup") and "openshift" not in workload.where:
            problems.append(f"without fsGroup, tapfan cannot write to the spool {folder}")
    for parent, (volume, size) in needed.items():
        limit = volume.get("claim", {}).get("resources", {}).get("requests", {}).get("storage")
        limit = limit or volume.get("emptyDir", {}).get("sizeLimit")
        if limit and quantity(limit) < size:
            problems.append(f"the volume at {parent} has {limit}, but the spools on it need {size >> 20}Mi")
    return problems


def quantity(text):
    """Returns the bytes of a quantity of Kubernetes or of a size of a Tapfile."""
    number, unit = re.fullmatch("([0-9]+)([kKMGT]?)i?B?", text).groups()
    base = 1024 if "i" in text else 1000
    return int(number) * base ** " kMGT".index(unit.replace("K", "k") or " ")


def around(workload: Workload):
    """Checks that selectors match the Pod, and that the objects around it exist. A problem comes with the name of its rule."""
    problems = []
    kinds = {item["kind"] for item in workload.objects}
    wanted = [] if workload.sidecar else ["NetworkPolicy", "ServiceAccount", "Service"]
    if workload.owner["kind"] != "DaemonSet" and not workload.sidecar:
        wanted.append("PodDisruptionBudget")
        keys = {spread["topologyKey"] for spread in workload.pod.get("topologySpreadConstraints", [])}
        if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            problems.append(("spread", "replicas are not spread over zones and hosts"))
    problems += [(kind, f"there is no {kind}") for kind in wanted if kind not in kinds]
    for item in workload.objects:
        selector = {
            "Service": item.get("spec", {}).get("selector"),
            "NetworkPolicy": item.get("spec", {}).get("podSelector", {}).get("matchLabels"),
            "PodDisruptionBudget": item.get("spec", {}).get("selector", {}).get("matchLabels"),
        }.get(item["kind"], workload.labels)
        if not selector or not selector.items() <= workload.labels.items():
            problems.append(("selector", f"{title(item)} does not select it"))
    return problems


def monitors(tree):
    """Every ServiceMonitor and PodMonitor selects existing objects, and ports that these objects have."""
    overlays = tree.kustomize
    everything = [item for objects in overlays.values() for item in objects]
    chart = [(item, tree.helm["everything"]) for item in tree.helm["everything"]]
    for monitor, objects in [(item, everything) for item in tree.monitoring] + chart:
        if monitor["kind"] not in ("ServiceMonitor", "PodMonitor"):
            continue
        spec = monitor["spec"]
        labels = spec["selector"]["matchLabels"]
        namespaces = spec.get("namespaceSelector", {}).get("matchNames") or [monitor["metadata"]["namespace"]]
        endpoints = spec.get("endpoints") or spec["podMetricsEndpoints"]
        found = []
        for item in objects:
            if item["metadata"].get("namespace") not in namespaces:
                continue
            if monitor["kind"] == "ServiceMonitor" and item["kind"] == "Service":
                found.append((item["metadata"].get("labels", {}), [port["name"] for port in item["spec"]["ports"]]))
            if monitor["kind"] == "PodMonitor" and item["kind"] in KINDS:
                names = [port["name"] for container in containers(item) for port in container.get("ports", [])]
                found.append((item["spec"]["template"]["metadata"]["labels"], names))
        selected = [names for have, names in found if labels.items() <= have.items()]
        if not selected:
            yield f"{title(monitor)} selects nothing"
        for names in selected:
            for endpoint in endpoints:
                if endpoint["port"] not in names:
                    yield f'{title(monitor)}: no port {endpoint["port"]} in what it selects'
