"""Progress on the terminal: what is being done, its result and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Steps:
    """Numbered steps. ``seconds`` keeps how long each took, by name, in order."""

    def __init__(self, console: Console | None = None) -> None:
        # Without a terminal rich would still wrap at 80 columns; plain lines are not wrapped.
        self.console = console or Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """Show ``title`` as the next step, and its duration when the block ends without an error."""
        self.console.print(f"[bold]{len(self.seconds) + 1}. {title}[/bold]")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        self.console.print(f"   [green]done[/green] in {self.seconds[name]:.1f} s")

    def show(self, line: str) -> None:
        self.console.print(f"   {line}", markup=False)
