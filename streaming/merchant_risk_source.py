"""Follows the folder of hourly merchant risk tables and offers the newest few for the next micro-batch.

A file ``<effective from, ms>-<digest>.parquet`` is immutable and appears under its name only when complete.
"""

import logging
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from fraud_core.merchant_risk import KEPT_TABLES, MerchantRisk, rows_of_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RiskTables:
    """Loaded tables: file names, oldest first, and the lookup in them."""

    names: tuple[str, ...]
    risk: MerchantRisk

    def used_for(self, event_time_ms: list[int]) -> list[str | None]:
        """Name of the table that each event time is looked up in; None when no table is that old."""
        name_of = {_effective_from_ms(name): name for name in self.names}
        return [None if time_ms is None else name_of[time_ms] for time_ms in self.risk.effective_from(event_time_ms)]


NO_TABLES = RiskTables((), MerchantRisk.empty())


def load(folder: Path, names: tuple[str, ...]) -> RiskTables:
    """Load the named tables. Raises FileNotFoundError when one is gone."""
    return RiskTables(names, MerchantRisk({_effective_from_ms(name): _table(folder / name) for name in names}))


@lru_cache(maxsize=2 * KEPT_TABLES)
def _table(file: Path) -> tuple[dict[str, int], np.ndarray]:
    """Kept, because every hour one table is new and the others are those of the hour before."""
    return rows_of_table(pl.read_parquet(file))


def newest(folder: Path) -> tuple[str, ...]:
    """File names of the newest tables, oldest first; of two for the same effective time the one written last."""
    by_time: dict[int, Path] = {}
    for path in sorted(folder.glob("*.parquet"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
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
            self.current = load(self.folder, names)
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
