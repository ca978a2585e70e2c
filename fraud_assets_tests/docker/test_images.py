"""A build stage copies only what it needs of the project, so that a change elsewhere builds nothing anew."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fraud_io.folders import ROOT


@pytest.mark.parametrize("image", ["fraud", "kafka"])
def test_the_files_that_a_build_stage_copies_are_enough_for_what_it_imports(image, tmp_path: Path):
    text = (ROOT / "docker" / image / "Dockerfile").read_text().replace("\\\n", " ")
    stage = text.split("AS build", 1)[1].split("\nFROM", 1)[0]
    for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *sources, target = line.split()
        (tmp_path / target).mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(ROOT / source, tmp_path / target)
    imports = re.findall(r"'(from fraud_stack[\w.]* import \w+);", stage)
    assert imports
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "\n".join(imports)], cwd=tmp_path, env=environment, check=True)
