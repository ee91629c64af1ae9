"""Runs the checks, then breaks copies of the folder to see that each check fails."""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from . import broken, chart, compose, files, manifests, monitoring, running, typescript, workflows
from .tree import Failed, Tree

CHECKS = {
    "yaml": files.yamls,
    "container": files.container,
    "units": files.units,
    "packages": workflows.packages,
    "scripts": workflows.scripts,
    "workflows": workflows.workflows,
    "release-notes": workflows.notes,
    "release-chart": workflows.release_chart,
    "versions": files.versions,
    "compose": compose.compose,
    "charts": chart.charts,
    "values": chart.values,
    "readme": chart.readme,
    "refusals": chart.refusals,
    "notes": chart.notes,
    "names": chart.names,
    "openshift": chart.openshift,
    "schemas": manifests.schemas,
    "same": manifests.same,
    "pods": manifests.rules,
    "monitors": manifests.monitors,
    "types": typescript.types,
    "rules": monitoring.rules,
    "alerts": monitoring.alerts,
    "runbook": monitoring.runbook,
    "dashboard": monitoring.dashboard,
    "tapfiles": running.tapfiles,
    "probes": running.probes,
    "tests": running.tests,
    "metrics": running.metrics,
}


def problems(check, tree):
    """The problems that a check finds in a tree, as texts. A program that fails is a problem, too."""
    try:
        return list(CHECKS[check](tree))
    except Failed as failed:
        return [str(failed)]


def in_order(cases):
    """Yields the name, problems and time of each case, in the order of the cases. Several cases run at a time."""

    def timed(case):
        begun = time.monotonic()
        return case(), time.monotonic() - begun

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for name, future in [(name, workers.submit(timed, case)) for name, case in cases]:
            yield name, *future.result()


def main():
    repository = Path(__file__).resolve().parents[2]
    target = Path(os.environ.get("CARGO_TARGET_DIR", repository / "target"))
    parser = argparse.ArgumentParser(prog="deploy/check", description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="NAME", help=f"one of {', '.join(CHECKS)}, broken; default: all")
    parser.add_argument("--tapfan", type=Path, default=target / "debug/tapfan", help="the program; default: %(default)s")
    parser.add_argument("--write", action="store_true", help="only generate the files that are made from other files")
    arguments = parser.parse_args()
    tree = Tree(repository, arguments.tapfan)
    if arguments.write:
        monitoring.write(tree)
        chart.write(tree)
        return 0
    if not arguments.tapfan.exists():
        sys.exit(f"{arguments.tapfan} does not exist: run cargo build, or use --tapfan")
    chosen = arguments.checks or [*CHECKS, "broken"]
    if unknown := set(chosen) - {*CHECKS, "broken"}:
        parser.error(f"no check {', '.join(sorted(unknown))}")

    passed = failed = 0
    for check in chosen:
        cases = broken.cases(tree, problems) if check == "broken" else [(check, partial(problems, check, tree))]
        for name, found, seconds in in_order(cases):
            print(f"{'FAILED' if found else 'ok    '} {name} ({seconds:.1f} s)", flush=True)
            for problem in found:
                print("    " + problem.replace("\n", "\n    "))
            passed += not found
            failed += bool(found)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
