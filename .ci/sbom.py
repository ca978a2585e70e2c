"""Software bill of materials: every Python package of .venv and every Java archive of jars.lock, as CycloneDX JSON.

``.ci/sbom FILE``. Versions and hashes come from what is installed and locked, licences from the packages' metadata and
the archives' POMs (the nearest parent that states one).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fraud_stack.jars import Jar, locked_jars, maven

TOOL = "cyclonedx-bom==7.5.0"


def python_packages(uv: str, python: str) -> dict:
    """CycloneDX of what is installed beside ``python``, by the CycloneDX project's own tool."""
    command = [
        uv,
        "tool",
        "run",
        "--from",
        TOOL,
        "cyclonedx-py",
        "environment",
        python,
        "--pyproject",
        "pyproject.toml",
    ]
    return json.loads(subprocess.run([*command, "--output-format", "JSON"], check=True, stdout=subprocess.PIPE).stdout)


def java_archive(jar: Jar, repository: Path) -> dict:
    group, artifact, version = jar.coordinates.split(":")
    return {
        "type": "library",
        "bom-ref": f"{jar.folder}/{jar.coordinates}",
        "group": group,
        "name": artifact,
        "version": version,
        "purl": f"pkg:maven/{group}/{artifact}@{version}?type=jar",
        "hashes": [{"alg": "SHA-256", "content": jar.sha256}],
        "licenses": [{"license": {"name": name}} for name in java_licences(group, artifact, version, repository)],
    }


def java_licences(group: str, artifact: str, version: str, repository: Path) -> list[str]:
    context = maven(repository)
    pom = context.project(group, artifact).at_version(version).pom()
    while pom is not None:
        names = [name for name in pom.values("licenses/license/name") if name]
        if names:
            return names
        pom = context.pom_parent(pom)
    return []


def main() -> None:
    uv, file = sys.argv[1:]
    bill = python_packages(uv, sys.executable)
    with tempfile.TemporaryDirectory() as repository:
        bill["components"] += [java_archive(jar, Path(repository)) for jar in locked_jars()]
    Path(file).write_text(json.dumps(bill, indent=2) + "\n")
    print(f"{file}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()
