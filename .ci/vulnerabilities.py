"""Known vulnerabilities of every package that a lock installs, from the advisories of PyPI.

``.ci/vulnerabilities``. Prints one line for each. Fails when a version that fixes one is there for a package that a
pyproject.toml names itself: raise it. What comes in through another package is reported only. Fails too when the index
answered for no package, since nothing was audited then.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from itertools import chain
from pathlib import Path

TOOL = "pip-audit==2.10.1"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def audited(uv: str, project: Path) -> list[dict]:
    """One entry a locked package, as pip-audit writes them: ``vulns``, or ``skip_reason`` where the index has none."""
    with tempfile.TemporaryDirectory() as folder:
        locked, report = Path(folder, "requirements.txt"), Path(folder, "report.json")
        export = [uv, "export", "--quiet", "--frozen", "--no-emit-project", "--no-header", "--project", project]
        subprocess.run([*export, "-o", locked], check=True)
        audit = [uv, "tool", "run", TOOL, "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        # Exit status 1 means that there are vulnerabilities, and an error that left no report.
        subprocess.run([*audit, "--format", "json", "--output", report, "--requirement", locked])
        return json.loads(report.read_text())["dependencies"]


def direct(project: Path) -> set[str]:
    """Normalised names of the packages that the pyproject.toml names."""
    described = tomllib.loads((project / "pyproject.toml").read_text())
    named = chain(described["project"]["dependencies"], *described.get("dependency-groups", {}).values())
    return {_NAME.match(requirement)[0].lower().replace("_", "-") for requirement in named}


def verdict(packages: list[dict], named: set[str]) -> tuple[list[str], bool]:
    """A line for each vulnerability, and whether one of them must be fixed now."""
    lines, must_fix = [], False
    for package in packages:
        for found in package.get("vulns", []):
            fixed_in = ", ".join(found["fix_versions"]) or "no version yet"
            is_due = bool(found["fix_versions"]) and package["name"] in named
            must_fix |= is_due
            kind = "fix now" if is_due else "reported"
            lines.append(f"{kind}: {package['name']} {package['version']}: {found['id']}, fixed in {fixed_in}")
    return lines, must_fix


def main() -> int:
    uv, *projects = sys.argv[1:]
    failed = False
    for project in map(Path, projects):
        packages = audited(uv, project)
        skipped = sum("skip_reason" in package for package in packages)
        lines, must_fix = verdict(packages, direct(project))
        print(f"{project / 'uv.lock'}: {len(packages) - skipped} packages audited, {skipped} not known to the index")
        print("\n".join(lines) or "no known vulnerability among those audited")
        failed |= must_fix or skipped == len(packages)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
