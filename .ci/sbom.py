"""Software bill of materials as CycloneDX JSON: every Python package of .venv and of the Airflow image, every Java
archive of jars.lock.

``.ci/sbom FILE``. Versions and hashes come from what is installed and locked, licences from the packages' metadata and
the archives' POMs (the nearest parent that states one).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fraud_stack.services.jars import Jar, locked_jars, maven

TOOL = "cyclonedx-bom==7.5.0"
AIRFLOW = "docker/airflow"


def python_packages(uv: str, python: Path | str, pyproject: str) -> dict:
    """CycloneDX of what is installed beside ``python``, by the CycloneDX project's own tool."""
    command = [uv, "tool", "run", "--from", TOOL, "cyclonedx-py", "environment", python]
    command += ["--pyproject", pyproject, "--output-format", "JSON"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def airflow_packages(uv: str, folder: Path) -> list[dict]:
    """Components of the Airflow image, whose lock is installed into ``folder`` as its Dockerfile does."""
    python, wanted = folder / "venv" / "bin" / "python", folder / "requirements.txt"
    export = [uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "-o", wanted]
    subprocess.run([*export, "--project", AIRFLOW], check=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, wanted], check=True)
    return python_packages(uv, python, f"{AIRFLOW}/pyproject.toml")["components"]


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
    bill = python_packages(uv, sys.executable, "pyproject.toml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jars = [java_archive(jar, folder / "maven") for jar in locked_jars()]
        components = [*bill["components"], *airflow_packages(uv, folder), *jars]
    # The two environments share packages; bom-ref is name and version, or an archive's folder and coordinates.
    bill["components"] = list({component["bom-ref"]: component for component in components}.values())
    Path(file).write_text(json.dumps(bill, indent=2) + "\n")
    print(f"{file}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()
