"""Links of the pages lead somewhere, and the files, folders and modules they name are there."""

import re
from pathlib import Path

import pytest

from fraud_assets_tests.docs.pages import PAGES
from fraud_io.folders import ROOT

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"`([^`\n]+)`")
TOP = {path.name for path in ROOT.iterdir() if path.name not in ("var", "dist")}
PACKAGES = ("fraud_core", "fraud_io", "fraud_assets", "streaming", "fraud_stack", "benchmarks", "fraud_assets_tests")
PYTHON_FILES = {path.name for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    return broken


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_paths(text: str) -> list[str]:
    """Of the names in backticks, those that look like a file, folder or module of this repository and are none."""
    return [name for name in CODE.findall(text) if not is_there(name)]


def is_there(name: str) -> bool:
    if name.startswith(tuple(f"{package}." for package in PACKAGES)):
        module = ROOT.joinpath(*name.split("."))
        return module.is_dir() or module.with_suffix(".py").exists()
    path, _, defined = name.partition(":")
    if path.split("/")[0] in TOP and "/" in path and re.fullmatch(r"[\w./*-]+", path):
        files = list(ROOT.glob(path.rstrip("/")))
        return bool(files) and (not defined or re.search(rf"\b{defined}\b", files[0].read_text()) is not None)
    if re.fullmatch(r"\w+\.py", path):
        return path in PYTHON_FILES
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_of_a_page_exist(page: Path):
    assert broken_links(page) == []
    assert missing_paths(page.read_text()) == []


def test_a_wrong_link_anchor_path_module_and_name_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title, here\n[a](page.md#a-title-here) [b](page.md#other) [c](gone.md) [d](https://e.org)\n")
    assert broken_links(page) == ["page.md#other", "gone.md"]
    wrong = ["fraud_core/no.py", "fraud_io.no", "no_such_file.py", "fraud_core/topics.py:NO", "docs/*.none"]
    right = ["fraud_core/topics.py:TOPICS", "docs/adr/", "lake/promotions.jsonl", "pages.py", "fraud_io.errors"]
    assert missing_paths(" ".join(f"`{name}`" for name in [*wrong, *right])) == wrong


def test_the_pages_name_files_and_link_to_each_other():
    texts = [page.read_text() for page in PAGES]
    assert sum(len(LINK.findall(text)) for text in texts) > 50
    assert sum(code.startswith(PACKAGES) for text in texts for code in CODE.findall(text)) > 50
