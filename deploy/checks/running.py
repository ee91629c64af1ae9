"""Checks of manifests, rules and dashboard against the running program."""

import base64
import re
import tempfile
import time

from .manifests import OPERATOR
from .monitoring import expressions, groups
from .router import Router, Stage
from .tree import Failed, run, title

# Labels that Prometheus adds itself, and labels of targets in Kubernetes.
OF_TARGETS = {"job", "instance", "namespace", "pod"}

# A problem that `tapfan check` reports. The room on this machine's disk does not matter: `rules` compares the sizes of
# spools with those of their volumes.
REPORTED = re.compile(r"^(error|warning): (?!the disk of \S+ has room for )", re.MULTILINE)


def tapfiles(tree):
    """Every Tapfile in a manifest passes `tapfan check`, without a warning."""
    for workload in tree.workloads:
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(workload, folder)
            environment = [f"{name}={value}" for name, value in stage.environment.items()]
            try:
                said = run("env", *environment, tree.tapfan, "check", stage.tapfile)
            except Failed as failed:
                said = str(failed)
            if REPORTED.search(said):
                yield f"{workload.name}: {said}"


def probes(tree):
    """The program starts with the arguments of the manifest; probes, ports of Services and metrics paths answer."""
    for workload in tree.workloads:
        with Router(tree.tapfan, workload) as router:
            try:
                router.wait_until_bound()
            except Failed as failed:
                yield f"{workload.name}: {failed}"
                continue
            for problem in ask(workload, router):
                yield f"{workload.name}: {problem}"


def ask(workload, router):
    ports = workload.ports
    for name, port in ports.items():
        if not router.answers(port):
            yield f"nothing listens at port {name} ({port})"
    for port in router.stage.ports:
        if port not in ports.values():
            yield f"port {port} of the Tapfile is not a port of the container"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        asked = workload.container.get(probe, {}).get("httpGet")
        if asked:
            status, body = answered(router, ports.get(asked["port"]), asked["path"])
            if status != 200:
                yield f'{probe} {asked["path"]}: {status} {body}'
    for service in workload.services():
        for port in service["spec"]["ports"]:
            if not router.answers(ports.get(port["targetPort"])):
                yield f'nothing listens where {title(service)} leads: {port["targetPort"]}'
    for item in workload.objects:
        if item["apiVersion"] == OPERATOR and item["kind"] == "PodMonitor":
            for endpoint in item["spec"]["podMetricsEndpoints"]:
                status, body = router.get(ports.get(endpoint["port"]), endpoint["path"])
                if status != 200 or "tapfan_build_info" not in body:
                    yield f'{title(item)} {endpoint["path"]}: {status} has no metrics'


def answered(router, port, path):
    """Repeats the request, because tapfan may become ready only after a moment."""
    end = time.monotonic() + 5
    while True:
        status, body = router.get(port, path)
        if status in (200, 404, None) or time.monotonic() > end:
            return status, body
        time.sleep(0.05)


def tests(tree):
    """The commands of `helm test` succeed against the program with the same Tapfile, and reach it through the Service."""
    seen = set()
    for name, objects in tree.tests.items():
        if not objects:
            continue
        workload = next(workload for workload in tree.workloads if workload.where == f"helm {name}")
        pod = next(item for item in objects if item["kind"] == "Pod")
        captures = [item for item in objects if item["kind"] == "ConfigMap"]
        for service in workload.services():
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items():
                yield f"helm test {name}: {title(service)} also leads to the Pod of the test"
        with Router(tree.tapfan, workload) as router:
            try:
                router.wait_until_bound()
            except Failed as failed:
                yield f"helm test {name}: {failed}"
                continue
            for container in pod["spec"]["containers"]:
                seen.add(container["name"].split("-")[0])
                try:
                    test(tree, workload, router, container, captures)
                except Failed as failed:
                    yield f"helm test {name}: {container['name']}: {failed}"
    if seen != {"check", "connect"}:
        yield f"helm test runs only {seen}"


def test(tree, workload, router, container, captures):
    """Runs the command of a container of `helm test`, with the files and ports of the running program."""
    words = [word.replace("/etc/tapfan/Tapfile", str(router.stage.tapfile)) for word in container["args"]]
    for item in captures:
        for name, text in item["binaryData"].items():
            path = router.stage.folder / name
            path.write_bytes(base64.b64decode(text))
            words = [word.replace(f"/captures/{name}", str(path)) for word in words]
    targets = {
        f"tcp://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{port['port']}": port["targetPort"]
        for service in workload.services()
        for port in service["spec"]["ports"]
    }
    for index, word in enumerate(words):
        if word.startswith("--to="):
            port = targets.get(word.removeprefix("--to="))
            if port is None:
                raise Failed(f"no Service has the address in {word}")
            words[index] = f"--to=tcp://127.0.0.1:{router.stage.ports[workload.ports[port]]}"
    environment = [f"{name}={value}" for name, value in router.stage.environment.items()]
    run("env", *environment, tree.tapfan, *words)


def metrics(tree):
    """Rules and dashboard use existing metrics, labels, and values of labels with a fixed list of values."""
    workload = next(workload for workload in tree.workloads if workload.name.startswith("helm everything"))
    with Router(tree.tapfan, workload) as router:
        try:
            router.wait_until_bound()
        except Failed as failed:
            yield str(failed)
            return
        status, body = with_sinks(router, workload.ports["probes"])
    if status != 200:
        yield f"/metrics: {status} {body}"
        return
    try:
        run("promtool", "check", "metrics", text=body)
    except Failed as failed:
        yield f"promtool check metrics: {failed}"
    there = samples(body)
    asked = [(f'rule {rule.get("alert") or rule["record"]}', rule["expr"]) for g in groups(tree) for rule in g["rules"]]
    asked += [(f"dashboard: {place}", text) for place, text in expressions(tree).items()]
    for place, text in asked:
        for problem in compare(text, there):
            yield f"{place}: {problem}"


def with_sinks(router, port):
    """Returns the answer of /metrics that has the sinks, which start only after the ports are bound."""
    end = time.monotonic() + 5
    while True:
        status, body = router.get(port, "/metrics")
        if status != 200 or "\ntapfan_sink_up{" in body or time.monotonic() > end:
            return status, body
        time.sleep(0.05)


def samples(body):
    """Returns the metrics: each name with its labels, each label with its values."""
    found = {}
    for line in body.splitlines():
        match = re.match(r"(\w+)(?:\{(.*)\})? ", line)
        if match and not line.startswith("#"):
            labels = found.setdefault(match[1], {})
            for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""):
                labels.setdefault(label, set()).add(value)
    return found


def compare(text, there):
    quoteless = re.sub(r'"[^"]*"', '""', text)
    known = set()
    for name in re.findall(r"\b(?:tapfan|process)_\w+", quoteless):
        if name in there:
            known |= there[name].keys()
        else:
            yield f"there is no metric {name}"
    for name, matchers in re.findall(r"\b((?:tapfan|process)_\w+)\{([^}]*)\}", text):
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            if label in OF_TARGETS or name not in there:
                continue
            if label not in there[name]:
                yield f"{name} has no label {label}"
            elif label in ("reason", "result", "state"):
                for word in value.split("|") if "~" in operator else [value]:
                    if word not in there[name][label]:
                        yield f"{name} has no {label} {word}"
    for labels in re.findall(r"\b(?:by|without|on) \(([^)]*)\)", quoteless):
        for label in re.split(r",\s*", labels):
            if known and label not in known | OF_TARGETS:
                yield f"no metric in it has a label {label}"
