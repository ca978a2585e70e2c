"""What the tests of the documentation read: the Markdown pages and the fenced blocks of them."""

import re
import shlex
from dataclasses import dataclass
from itertools import groupby

from fraud_io.folders import ROOT

PAGES = (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "benchmarks" / "README.md")

_FENCE = re.compile(
    r"(?:^<!-- (?P<kind>not run:|run by) (?P<what>(?:(?!-->).)+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block. not_run : the reason in the comment above it. run_by : the files named there that run it."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None
    run_by: tuple[str, ...]

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, without comments; commands end with a line or with &&."""
        text = re.sub(r"(^|\s)#.*$", "", self.text.replace("\\\n", " "), flags=re.MULTILINE)
        lexer = shlex.shlex(text, posix=True, punctuation_chars="&\n")
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
        groups = groupby(lexer, key=lambda token: set(token) <= {"&", "\n"})
        return [list(words) for is_end, words in groups if not is_end]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(text: str, page: str) -> list[Block]:
    found = []
    for match in _FENCE.finditer(text):
        kind, what = match["kind"], " ".join((match["what"] or "").split())
        not_run = what if kind == "not run:" else None
        run_by = tuple(what.split(", ")) if kind == "run by" else ()
        line = text[: match.start("text")].count("\n")
        found.append(Block(page, line, match["language"], match["text"], not_run, run_by))
    return found


ALL_BLOCKS = [block for page in PAGES for block in blocks(page.read_text(), str(page.relative_to(ROOT)))]
SHELL_BLOCKS = [block for block in ALL_BLOCKS if block.language == "sh"]
RUNNABLE_BLOCKS = [block for block in SHELL_BLOCKS if block.not_run is None and not block.run_by]
