"""Checks resources of the Prometheus Operator and the dashboard against the TypeScript types of their projects.

No registry has JSON Schemas for them. The TypeScript compiler refuses unknown, missing and wrongly typed fields of an
object literal.
"""

import json
import re
import tempfile
from pathlib import Path

from .manifests import OPERATOR
from .tree import TOOLS, Failed, run, title

MODULES = TOOLS / "node_modules"
GRAFANA = "@grafana/schema/dist/types"
KINDS = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1"


def types(tree):
    resources = [
        (f"{where}: {title(item)}", item)
        for where, objects in tree.manifests
        for item in objects
        if item["apiVersion"] == OPERATOR
    ]
    dashboard = json.loads((tree.deploy / "monitoring/dashboard.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "node_modules").symlink_to(MODULES)
        grafana(folder)
        lines = ["import type { Dashboard } from './grafana/veneer/dashboard.types';"]
        kinds = sorted({item["kind"] for _, item in resources})
        lines += [f"import type {{ I{kind} }} from '{KINDS}/{kind}';" for kind in kinds]
        places = {}
        for name, kind, value in [("dashboard.json", "Dashboard", dashboard)] + [
            (name, "I" + item["kind"], item) for name, item in resources
        ]:
            places[len(lines) + 1] = name
            text = json.dumps(value, indent=1)
            lines += f"export const v{len(lines)}: {kind} = {text};".splitlines()
        source = folder / "values.ts"
        source.write_text("\n".join(lines))
        options = "--noEmit --strict --skipLibCheck --preserveSymlinks --module esnext --moduleResolution bundler --target es2022"
        try:
            run("node", MODULES / "typescript/bin/tsc", *options.split(), source, cwd=folder)
        except Failed as failed:
            yield from placed(str(failed), places, lines)


def placed(said, places, lines):
    """The messages of the compiler, with the offending value instead of the line number."""
    for line in said.splitlines():
        found = re.match(r".*values\.ts\((\d+),\d+\): error TS\d+: (.*)", line)
        if found:
            number = int(found[1])
            owner = max((start for start in places if start <= number), default=None)
            yield f"{places.get(owner, 'values.ts')}: {lines[number - 1].strip()}: {found[2]}"
        elif not line.startswith(" "):
            yield line


def grafana(folder):
    """Copies Grafana's types with string enums as unions, because a string from JSON is not a member of an enum."""
    for part in ("raw/dashboard/x", "veneer", "common"):
        for path in (MODULES / GRAFANA / part).glob("*.d.ts"):
            copy = folder / "grafana" / part / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(re.sub(r"export declare enum (\w+) \{([^}]*)\}", union, path.read_text()))


def union(found):
    texts = re.findall(r'= ("[^"]*")', found[2])
    return f"export type {found[1]} = {' | '.join(texts)};" if texts else found[0]
