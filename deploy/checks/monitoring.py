"""Checks of the rules, their tests, the runbook, and the expressions of the dashboard."""

import json
import re
import tempfile
from pathlib import Path

import yaml

from .tree import Failed, run

OPERATORS_RULE = """\
# The rules of rules.yaml, for the Prometheus Operator. Made by `deploy/check --write`: edit rules.yaml instead.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tapfan
  labels:
    app.kubernetes.io/name: tapfan
spec:
"""


def operators_rule(tree):
    """Returns the PrometheusRule: the text of rules.yaml, indented, without the comment at its top."""
    text = (tree.deploy / "monitoring/rules.yaml").read_text()
    groups = text[text.index("groups:\n") :]
    return OPERATORS_RULE + re.sub(r"^(?=.)", "  ", groups, flags=re.MULTILINE)


def chart_files(tree):
    """Returns the files that the chart contains a second time, because helm reads only the folder of a chart."""
    text = (tree.deploy / "monitoring/rules.yaml").read_text()
    dashboard = json.loads((tree.deploy / "monitoring/dashboard.json").read_text())
    return {
        "rules.yaml": text[text.index("groups:\n") :],
        "dashboard.json": json.dumps(dashboard, ensure_ascii=False, separators=(",", ":")) + "\n",
    }


def write(tree):
    (tree.deploy / "monitoring/prometheusrule.yaml").write_text(operators_rule(tree))
    for name, text in chart_files(tree).items():
        (tree.chart / "files" / name).write_text(text)


def groups(tree):
    return yaml.safe_load((tree.deploy / "monitoring/rules.yaml").read_text())["groups"]


def rules(tree):
    """promtool accepts the rules, and the files that are made from rules.yaml and dashboard.json are up to date."""
    folder = tree.deploy / "monitoring"
    try:
        run("promtool", "check", "rules", folder / "rules.yaml")
    except Failed as failed:
        yield str(failed)
    if (folder / "prometheusrule.yaml").read_text() != operators_rule(tree):
        yield "prometheusrule.yaml differs from rules.yaml: run deploy/check --write"
    for name, text in chart_files(tree).items():
        path = tree.chart / "files" / name
        if not path.exists() or path.read_text() != text:
            yield f"the chart's {name} differs from monitoring/{name}: run deploy/check --write"


def alerts(tree):
    """For every alert, there is a test in which it fires and a test in which it does not fire."""
    folder = tree.deploy / "monitoring"
    files = sorted(folder.glob("*_test.yaml"))
    try:
        run("promtool", "test", "rules", *files)
    except Failed as failed:
        yield str(failed)
    seen = set()
    for path in files:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for asked in test["alert_rule_test"]:
                seen.add((asked["alertname"], bool(asked.get("exp_alerts"))))
                # If a test lists the expected alerts of a name, promtool fails on any other alert of that name.
                labels = {sample["series"] for sample in test["input_series"]}
                if any("good" in label for label in labels):
                    seen.add((asked["alertname"], False))
    for group in groups(tree):
        for rule in group["rules"]:
            if "alert" in rule:
                for fires, word in ((True, "fire"), (False, "not fire")):
                    if (rule["alert"], fires) not in seen:
                        yield f'{rule["alert"]}: no test sees it {word}'


def runbook(tree):
    """Every alert has its texts and its section of the runbook, and every section has its alert."""
    text = (tree.root / "docs/runbook.md").read_text()
    entries = dict(re.findall(r"^## (Tapfan\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    named = set()
    for group in groups(tree):
        for rule in group["rules"]:
            if "alert" not in rule:
                continue
            name = rule["alert"]
            named.add(name)
            annotations = rule.get("annotations", {})
            for key in ("summary", "description"):
                if not annotations.get(key):
                    yield f"{name} has no {key}"
            if annotations.get("runbook") != f"docs/runbook.md#{name.lower()}":
                yield f"{name} does not name its section of the runbook"
            if rule.get("labels", {}).get("severity") not in ("critical", "warning"):
                yield f"{name} has no severity"
            for part in ("**It means:**", "**Look at:**", "**Do:**"):
                if part not in entries.get(name, ""):
                    yield f"docs/runbook.md: {name} has no {part}"
    made = next(item for item in tree.helm["everything"] if item["kind"] == "PrometheusRule")
    for rule in [rule for group in made["spec"]["groups"] for rule in group["rules"] if "alert" in rule]:
        link = f"https://git.example.net/tapfan/docs/runbook.md#{rule['alert'].lower()}"
        if rule["annotations"].get("runbook_url") != link or "runbook" in rule["annotations"]:
            yield f"{rule['alert']} of the chart has no link to {link}"
    for name in entries.keys() - named:
        yield f"docs/runbook.md: there is no alert {name}"


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions(tree):
    """The expressions of the dashboard by panel, with values instead of its variables."""
    dashboard = json.loads((tree.deploy / "monitoring/dashboard.json").read_text())
    found = {}
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            found[f'{panel["title"]} {target["refId"]}'] = target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            found[f'${variable["name"]}'] = f"count by ({inner[2]}) ({inner[1]})"
    return {
        place: re.sub(r"\$(job|instance|sink)\b", ".*", text.replace("$__rate_interval", "5m"))
        for place, text in found.items()
    }


def dashboard(tree):
    """promtool accepts every expression of the dashboard; panels do not overlap."""
    taken = {}
    whole = json.loads((tree.deploy / "monitoring/dashboard.json").read_text())
    for panel in whole["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    yield f'panels {taken[x, y]} and {panel["title"]} overlap'
                    return
                taken[x, y] = panel["title"]
    if len({panel["id"] for panel in panels(whole)}) != len(list(panels(whole))):
        yield "two panels have the same id"
    every = expressions(tree)
    group = {
        "name": "dashboard",
        "rules": [{"record": "x", "labels": {"place": place}, "expr": text} for place, text in every.items()],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dashboard.yaml"
        path.write_text(yaml.safe_dump({"groups": [group]}))
        try:
            run("promtool", "check", "rules", path)
        except Failed as failed:
            yield str(failed)
