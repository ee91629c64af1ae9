"""Prints an SBOM in CycloneDX's format: the crates of which the program for a target is made, with their licences and hashes.

    python3 deploy/packages/sbom.py x86_64-unknown-linux-musl
"""

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind, hashes):
    """Describes a package in CycloneDX's format. Old crates write `MIT/Apache-2.0`, which SPDX no longer knows."""
    licence = package["license"]
    made = {"type": kind, "bom-ref": purl(package), "name": package["name"], "version": package["version"]}
    if package["description"]:
        made["description"] = package["description"].strip()
    if licence:
        made["licenses"] = [{"expression": licence.replace(" / ", " OR ").replace("/", " OR ")}]
    if digest := hashes.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    made["purl"] = purl(package)
    return made


def linked(nodes, root):
    """Returns the packages that each package of the program links to, without dependencies of builds and tests."""
    edges, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package not in edges:
            edges[package] = [
                dependency["pkg"]
                for dependency in nodes[package]["deps"]
                if any(how["kind"] is None for how in dependency["dep_kinds"])
            ]
            waiting += edges[package]
    return edges


def main(target):
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    hashes = {(crate["name"], crate["version"]): crate.get("checksum") for crate in lock["package"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    root = metadata["resolve"]["root"]
    edges = linked({node["id"]: node for node in metadata["resolve"]["nodes"]}, root)
    crates = sorted(edges.keys() - {root}, key=lambda crate: purl(packages[crate]))
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(packages[root], "application", hashes),
        },
        "components": [component(packages[crate], "library", hashes) for crate in crates],
        "dependencies": [
            {"ref": purl(packages[crate]), "dependsOn": sorted({purl(packages[other]) for other in edges[crate]})}
            for crate in [root, *crates]
        ],
    }
    print(json.dumps(document, indent=2))


main(sys.argv[1])
