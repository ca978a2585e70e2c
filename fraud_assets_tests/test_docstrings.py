"""The examples in docstrings show what the code does. Only modules that hold one are imported."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fraud_core", "fraud_io", "fraud_assets", "streaming", "fraud_stack", "benchmarks")
WITH_EXAMPLES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for file in (ROOT / package).rglob("*.py")
    if ">>> " in file.read_text()
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module_show_what_it_does(module):
    found = doctest.testmod(import_module(module))
    assert found.attempted > 0
    assert found.failed == 0, "see the output above"
