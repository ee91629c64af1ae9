"""Checks of the Helm chart: its values, their documentation, and what the chart refuses or says."""

import json
import re
import tempfile
from pathlib import Path

import yaml

from .tree import KINDS, NEWEST, Failed, run, title

# Changes of the values in ci/ that the chart refuses, and words that the refusal must contain.
REFUSALS = [
    ("deployment", "existingConfigMap=other", "both set"),
    ("deployment", "image.repository=", "image.repository is empty"),
    ("deployment", "probesPort=9281", "has port 9181, but the value probesPort is 9281"),
    ("deployment", 'listeners=[{"name": "dnstap", "port": 6001}]', "listeners has port 6001 (dnstap), but no `listen` line"),
    ("deployment", "terminationGracePeriodSeconds=17", "not longer than 5 s of preStopSeconds, 10 s of `drain`"),
    ("deployment", "service.loadBalancerClass=internal", "needs service.type LoadBalancer"),
    ("deployment", "service.externalTrafficPolicy=Local", "needs service.type NodePort or LoadBalancer"),
    ("deployment", 'listeners=[{"name": "dnstap", "port": 6000, "nodePort": 30600}]', "needs service.type NodePort or LoadBalancer"),
    ("statefulset", "spool.enabled=false", "set spool.enabled to true"),
    ("statefulset", "spool.mountPath=/taps", "/taps/NAME"),
    ("statefulset", "spool.size=8Gi", "need at least 8448Mi"),
    ("statefulset", "spool.volume=hostPath", "on one node would use the same folder"),
    ("statefulset", "updateStrategy.type=Recreate", "a StatefulSet does not have"),
    ("claims", "spool.size=3G", "need at least 3584Mi"),
    ("everything", "spool.size=767Mi", "need at least 768Mi"),
    ("daemonset", "spool={\"enabled\": true, \"volume\": \"claim\"}", "a DaemonSet cannot have"),
    ("daemonset", "probesPort=9281", "has port 9181, but the value probesPort is 9281"),
    ("daemonset", "terminationGracePeriodSeconds=12", "not longer than 0 s of preStopSeconds, 10 s of `drain`"),
]

# Tapfiles for the default values, and words that the chart's refusal must contain; None if the chart accepts the Tapfile.
TAPFILES = [
    ("", "There is no Tapfile"),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\n", None),
    ('listen "tcp://[::]:6000" { max_frame 1KiB }\nprobes "[::]:9181" {\n    host tapfan\n}\ndrain 21s999ms\n', None),
    ("listen tcp://{$ADDRESS} # 0.0.0.0:6001\nprobes {$PROBES}\ndrain 20s\n", None),
    ("import conf.d/*\n", None),
    ("listen tcp://127.0.0.1:7000\nlisten tls://0.0.0.0:6000 { cert c key k }\nprobes 0.0.0.0:9181\n", None),
    ("listen tcp://0.0.0.0:6000\n# probes 0.0.0.0:9181\n", "no `probes` line"),
    ("listen tcp://0.0.0.0:6000\nprobes 127.0.0.1:9181\n", "on loopback"),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9182\n", "has port 9182, but the value probesPort is 9181"),
    ("listen tcp://127.0.0.1:6000\nprobes 0.0.0.0:9181\n", "no `listen` line"),
    ("listen unix:///run/d.sock\nprobes 0.0.0.0:9181\n", "no `listen` line"),
    ("listen tcp://0.0.0.0:6000\nlisten tls://[::]:6443 {\n}\nprobes 0.0.0.0:9181\n", "listens at port 6443"),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\ndnstap s { spool /s/a 1GiB }\n", "`spool /s/a 1GiB`, but there is no volume"),
    ('listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\ndnstap s {\n spool "/s/a" 1GiB {\n age 1h\n}\n}\n', "no volume"),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\ndnstap s {\n spool {$DIR} 1GiB\n}\n", None),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\ndrain 1m30s\n", "90 s of `drain`"),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\ndrain 22s1ms\ndrain 23s\n", "23 s of `drain`"),
]

# Tapfiles for the mode `daemonset`, in the same form, with further arguments of helm.
SOCKETS = [
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\n", [], "no `listen` line of the Tapfile has a socket in a folder of the node"),
    ("listen unix:///run/d.sock\nprobes 0.0.0.0:9181\n", [], "has a socket in a folder of the node"),
    ("# listen unix:///run/tapfan/d.sock\nlisten tls://[::]:6443\nprobes 0.0.0.0:9181\n", [], "has a socket in a folder of the node"),
    ('listen tcp://127.0.0.1:6000\nlisten "unix:///run/tapfan/d.sock" { mode 0666 }\nprobes 0.0.0.0:9181\n', [], None),
    ("listen /run/tapfan/d.sock\nprobes 0.0.0.0:9181\n", [], None),
    ("listen {$ADDRESS}\nprobes 0.0.0.0:9181\n", [], None),
    ("import conf.d/*\n", [], None),
    ("listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\n", ["--set", "hostNetwork=true"], None),
    (
        "listen unix:///run/taps/d.sock\nprobes 0.0.0.0:9181\n",
        ["--set-json", 'extraVolumeMounts=[{"name": "taps", "mountPath": "/run/taps"}]'],
        None,
    ),
]

# Sentences in the notes of an installation, by the name of the values file.
NOTES = {
    "deployment": [
        "write to tapfan.dns-obs.svc, port 6000 (dnstap).",
        "write the ClusterIP of the Service into the Corefile",
        "kubectl --namespace dns-obs get service tapfan --output jsonpath='{.spec.clusterIP}'",
        "out, to any address: DNS (53), and collectors on the TCP ports 6000, 6443",
        "helm test --namespace dns-obs tapfan",
        "port-forward deployment/tapfan 9180",
    ],
    "statefulset": ["installed as a StatefulSet", "a claim of 10Gi of its own", "port-forward statefulset/tapfan 9180"],
    "claims": ["get persistentvolumeclaims --selector app.kubernetes.io/instance=tapfan"],
    "openshift": ["No sink of the Tapfile has a `spool` line yet"],
    "daemonset": ["write to /run/tapfan/dnstap.sock", "DNS (53)", "port-forward daemonset/tapfan 9180"],
    "everything": [
        "ports 6000 (dnstap) 6443 (dnstap-tls)",
        "write 2001:db8:60::6000 into the Corefile",
        '[{"ipBlock":{"cidr":"192.0.2.0/24"}}]',
        "TCP ports 6443",
        "an emptyDir of 1Gi",
    ],
    "host": ["There is no NetworkPolicy", "ConfigMap host-tapfile must have the key Tapfile", "(9181)", "the folder /var/lib/taps of its node"],
}


def charts(tree):
    """Runs helm lint with the default values and with each values file, which also applies the schema of the values."""
    for name, arguments in [("values.yaml", [tree.chart])] + [(v.name, tree.helm_arguments(v)) for v in tree.values]:
        try:
            run("helm", "lint", "--strict", "--quiet", *arguments, "--kube-version", NEWEST)
        except Failed as failed:
            yield f"{name}: {failed}"


def values(tree):
    """Every value is in the schema, and a file in ci/ sets it to a value other than its default."""
    schema = json.loads((tree.chart / "values.schema.json").read_text())
    defaults = yaml.safe_load((tree.chart / "values.yaml").read_text())
    given = [yaml.safe_load(path.read_text()) for path in tree.values]
    yield from compare(schema, defaults, given, "")
    extra = schema["properties"].keys() - defaults.keys() - {"global"}
    yield from (f"values.schema.json has {name}, which is not in values.yaml" for name in extra)


def compare(schema, defaults, given, path):
    for name, default in defaults.items():
        place = f"{path}{name}"
        described = schema.get("properties", {}).get(name)
        if described is None:
            yield f"values.schema.json has no {place}"
            continue
        others = [values[name] for values in given if name in values]
        # `tapfile` also comes from the arguments of helm.
        if not any(other != default for other in others):
            yield f"no file in ci/ changes {place}"
        if isinstance(default, dict) and "properties" in described:
            yield from compare(described, default, others, f"{place}.")


def helm_docs(tree):
    return run(
        *("helm-docs", "--chart-search-root", tree.chart, "--dry-run", "--skip-version-footer"),
        *("--sort-values-order", "file", "--log-level", "warning"),
    )


def readme(tree):
    """README.md is the output of helm-docs, each value has a description, and the chart accepts the examples in README.md."""
    made = helm_docs(tree).strip() + "\n"
    if (tree.chart / "README.md").read_text() != made:
        yield "README.md differs from values.yaml or README.md.gotmpl: run deploy/check --write"
    for line in made.splitlines():
        if re.fullmatch(r"\|.*\|\s*\|", line):
            yield f"values.yaml does not describe {line.split('|')[1].strip()}: begin the comment above it with `# --`"
    for section in re.split("^## ", made, flags=re.MULTILINE):
        for problem in example(tree, section):
            yield f"README.md: the example of {section.splitlines()[0]!r}: {problem}"


def example(tree, section):
    """Yields the reason if the chart refuses the values and the Tapfile of a section, or if they do not fit each other."""
    blocks = dict(re.findall(r"^```(yaml|tapfile)\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    if "tapfile" not in blocks:
        return
    tapfile = blocks["tapfile"]
    if "listen " not in tapfile:
        tapfile += "listen tcp://0.0.0.0:6000\nprobes 0.0.0.0:9181\n"
    values = blocks.get("yaml", "{}")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(values)
        file.flush()
        yield from refused(tree, tapfile, "--values", file.name)
    given = yaml.safe_load(values)
    mounts = [mount["mountPath"] for mount in given.get("secrets", []) + given.get("configMaps", [])]
    for path in re.findall(r"^ +(?:cert|key|ca|client_ca|sasl \S+ \S+) (\S+)", tapfile, re.MULTILINE):
        if str(Path(path).parent) not in mounts:
            yield f"the values mount nothing for {path}"


def write(tree):
    (tree.chart / "README.md").write_text(helm_docs(tree).strip() + "\n")


def refused(tree, tapfile, *arguments):
    """Yields the reason if the chart, with the default values and these arguments, refuses this Tapfile."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(tapfile)
        file.flush()
        try:
            tree.render(
                *(tree.chart, "--set", "image.repository=example.net/tapfan", "--set-file", f"tapfile={file.name}"),
                *arguments,
            )
        except Failed as failed:
            yield str(failed)


def refusals(tree):
    """The chart refuses values that do not fit each other or the Tapfile, and says why."""
    files = {path.stem: path for path in tree.values}
    for name, change, words in REFUSALS:
        try:
            tree.render(*tree.helm_arguments(files[name]), "--set-json" if "[" in change or "{" in change else "--set", change)
            yield f"{name} with {change} is not refused"
        except Failed as failed:
            if words not in str(failed):
                yield f"{name} with {change}: the refusal does not say {words!r}: {failed}"
    for tapfile, arguments, words in [(text, [], words) for text, words in TAPFILES] + [
        (text, ["--set", "mode=daemonset", *arguments], words) for text, arguments, words in SOCKETS
    ]:
        said = "".join(refused(tree, tapfile, *arguments))
        if words is None and said:
            yield f"{tapfile!r} is refused: {said}"
        elif words is not None and words not in said:
            yield f"{tapfile!r} is not refused with {words!r}: {said or 'no refusal'}"


def notes(tree):
    """The notes of an installation name the addresses, and what the NetworkPolicy allows."""
    for values in tree.values:
        said = run(
            *("helm", "install", "tapfan", *tree.helm_arguments(values), "--dry-run=client"),
            *("--namespace", "dns-obs"),
        )
        said = said[said.rindex("\nNOTES:\n") :]
        for sentence in NOTES.get(values.stem, []):
            if sentence not in said:
                yield f"{values.name}: the notes do not say {sentence!r}: {said}"
        if re.search("\n\n\n.|<no value>|<nil>|null", said):
            yield f"{values.name}: the notes have an empty value or two empty lines: {said}"


def names(tree):
    """With the longest name of a release, every name is a valid label, also with the suffix for a StatefulSet."""
    for values in tree.values:
        for item in tree.render(*tree.helm_arguments(values), release="r" * 53):
            name = item["metadata"]["name"]
            # The label `controller-revision-hash` is this name, a hyphen and up to 10 characters.
            limit = 63 - 11 if item["kind"] == "StatefulSet" else 63
            if len(name) > limit:
                yield f"{values.name}: the name of {item['kind']} has {len(name)} characters, more than {limit}"


def openshift(tree):
    """In OpenShift, the Pods of a Deployment or StatefulSet pass the policy `restricted-v2`, which assigns user and groups."""
    pods = [(title(item), item["spec"]["template"]["spec"]) for item in tree.helm["openshift"] if item["kind"] in KINDS]
    pods += [(title(item), item["spec"]) for item in tree.tests["openshift"] if item["kind"] == "Pod"]
    if len(pods) < 2:
        yield "there is no Deployment or StatefulSet, or no Pod of helm test"
    for name, pod in pods:
        yield from (f"{name}: {problem}" for problem in restricted(pod))


def restricted(pod):
    contexts = [pod["securityContext"], *(container["securityContext"] for container in pod["containers"])]
    for context in contexts:
        for field in {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions"} & context.keys():
            yield f"{field} is set"
    if pod["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile is not RuntimeDefault"
    for context in contexts[1:]:
        if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities") != {"drop": ["ALL"]}:
            yield "privileges are not dropped"
    for field in {"hostNetwork", "hostPID", "hostIPC"} & pod.keys():
        yield f"{field} is set"
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in pod["volumes"]:
        for kind in volume.keys() - {"name"} - allowed:
            yield f"volume {volume['name']} is a {kind}"
