"""Follows the folder of hourly merchant risk tables and offers the newest few for the next micro-batch.

A file ``<effective from, ms>-<digest>.parquet`` is immutable and appears under its name only when complete.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from fraud_core.features.merchant_risk import KEPT_TABLES, MerchantRisk, rows_of_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RiskTables:
    """Loaded tables by file name, oldest first: of each the merchants' rows and their values."""

    tables: dict[str, tuple[dict[str, int], np.ndarray]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.tables)

    @cached_property
    def risk(self) -> MerchantRisk:
        """The lookup in them."""
        return MerchantRisk({_effective_from_ms(name): table for name, table in self.tables.items()})

    def used_for(self, event_time_ms: Iterable[int]) -> list[str | None]:
        """Name of the table that each event time is looked up in; None when no table is that old."""
        name_of = {_effective_from_ms(name): name for name in self.names}
        return [None if time_ms is None else name_of[time_ms] for time_ms in self.risk.effective_from(event_time_ms)]


NO_TABLES = RiskTables({})


def load(folder: Path, names: tuple[str, ...], loaded: RiskTables = NO_TABLES) -> RiskTables:
    """Read the named tables, but for those that are ``loaded`` already. Raises FileNotFoundError when one is gone."""
    return RiskTables(
        {name: loaded.tables.get(name) or rows_of_table(pl.read_parquet(folder / name)) for name in names}
    )


def newest(folder: Path) -> tuple[str, ...]:
    """File names of the newest tables, oldest first; of two for the same effective time the one written last."""
    by_time: dict[int, Path] = {}
    for path in sorted(folder.glob("[0-9]*.parquet"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        by_time[_effective_from_ms(path.name)] = path
    return tuple(by_time[time_ms].name for time_ms in sorted(by_time)[-KEPT_TABLES:])


class MerchantRiskSource:
    """``current`` holds the newest tables; a thread looks for newer ones every ``poll_s`` seconds."""

    def __init__(self, folder: Path, poll_s: float) -> None:
        self.folder = folder
        self.current = NO_TABLES
        self._poll_s = poll_s

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._follow, args=(stop,), name="merchant-risk", daemon=True).start()

    def look(self) -> None:
        """Load the newest tables when they are others than the current ones."""
        names = newest(self.folder)
        if names != self.current.names:
            self.current = load(self.folder, names, self.current)
            log.info("merchant risk tables in use: %d, newest %s", len(names), names[-1] if names else None)

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.look()
            except (OSError, pl.exceptions.PolarsError) as error:
                log.error("merchant risk tables in %s cannot be read, the last good ones serve: %s", self.folder, error)
            stop.wait(self._poll_s)


def _effective_from_ms(name: str) -> int:
    return int(name.partition("-")[0])
