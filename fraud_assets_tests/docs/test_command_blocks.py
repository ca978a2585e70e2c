"""Each block of commands on a page is run by a test, or says why not. e2e/test_written_commands.py runs those that say
nothing."""

import re
from importlib import import_module

import pytest
import typer.main

from fraud_assets_tests.docs.pages import ALL_BLOCKS, PAGES, RUNNABLE_BLOCKS, SHELL_BLOCKS, Block, blocks
from fraud_io.folders import ROOT
from fraud_stack.cli import app


def test_the_pages_have_blocks_of_every_kind():
    assert RUNNABLE_BLOCKS
    assert any(block.not_run for block in SHELL_BLOCKS)
    assert any(block.run_by for block in SHELL_BLOCKS)


def test_a_marker_counts_only_directly_above_its_block():
    text = "<!-- not run: because -->\n```sh\na\n```\n\n<!-- run by x.py, y.py -->\n```sh\nb\n```\n"
    text += "<!-- not run: because -->\nText.\n```sh\nc\n```\n"
    first, second, third = blocks(text, "page.md")
    assert (first.not_run, second.run_by, third.not_run, third.run_by) == ("because", ("x.py", "y.py"), None, ())
    assert [block.line for block in (first, second, third)] == [2, 7, 12]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_stand_in_fences_that_say_what_they_hold(page):
    text = page.read_text()
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks(text, page.name))
    assert not re.search(r"\n\n {4,}\S", re.sub(r"```.*?\n```", "", text, flags=re.DOTALL)), "use a fence"


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=str)
def test_every_block_is_shell_or_no_command(block: Block):
    assert block.language in ("sh", "text", "mermaid", "python", "java", "toml")
    if block.language != "sh":
        assert "./run" not in block.text


@pytest.mark.parametrize("block", [block for block in SHELL_BLOCKS if block.run_by], ids=str)
def test_the_tests_that_a_marker_names_run_each_of_its_commands(block: Block):
    texts = [(ROOT / file).read_text() for file in block.run_by]
    for command in block.commands:
        wanted = [word.partition("=")[0] for word in command[1:] if command[0] == "export" or word.startswith("--")]
        if command[0] == "./run":
            wanted.append(command[1])
        assert wanted
        assert any(all(f'"{word}"' in text for word in wanted) for text in texts), command


def test_every_command_that_a_page_mentions_exists():
    commands = set(typer.main.get_command(app).commands) | {"lock"}
    mentioned = {(page.name, name) for page in PAGES for name in re.findall(r"\./run ([a-z][a-z-]*)", page.read_text())}
    assert len(mentioned) > 20
    assert {(page, name) for page, name in mentioned if name not in commands} == set()


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_the_words_of_a_command_are_ones_it_takes(block: Block):
    for command in block.commands:
        if command[0] == "./run":
            parse(command[1:])


def test_a_wrong_option_is_found():
    for words in (["up", "--no"], ["bench", "drift", "--no"], ["demo", "--minutes", "many"]):
        with pytest.raises(typer.TyperException):
            parse(words)


def parse(words: list[str]) -> None:
    """Check the words of ``./run WORDS`` without running it. Commands that pass their words on take any, but bench."""
    if words[0] == "bench":
        name, command = words[1], typer.main.get_command(import_module(f"benchmarks.{words[1]}.__main__").app)
        words = words[1:]
    else:
        name, command = words[0], typer.main.get_command(app).commands[words[0]]
    command.make_context(name, list(words[1:]))
