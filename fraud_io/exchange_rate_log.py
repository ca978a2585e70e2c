"""The log of exchange rate tables in the lake: a line a table, in the order in which they are in force.

Lines are added at the end and never changed: payments were decided by them. A table carries a digest of itself in its
name, so a line that was edited is noticed.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from fraud_core.features.exchange_rates import ExchangeRates, Rates, RateTable, first_tables, later_tables
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms
from fraud_io.errors import OperatorError
from fraud_io.files import write_durably
from fraud_io.folders import Lake


class ExchangeRateLog:
    """JSON Lines at ``<lake>/exchange_rates/tables.jsonl``: table, day, in_force_from, rates by currency."""

    def __init__(self, lake: Path) -> None:
        self.path = Lake(lake).exchange_rates

    def version(self) -> tuple[int, int] | None:
        """Changes with the content; None while there is no log."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def tables(self, until: str | None = None) -> list[RateTable]:
        """All tables, or those up to and with the one named ``until``; none while there is no log.

        Raises OperatorError when a line is not as it was written, LookupError when there is no table ``until``.
        """
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        tables = [self._table(number, line) for number, line in enumerate(lines, start=1)]
        if until is None:
            return tables
        names = [table.name for table in tables]
        if until not in names:
            raise LookupError(f"the exchange rate table {until} is not in {self.path}")
        return tables[: names.index(until) + 1]

    def rates(self, currency: str, until: str | None = None) -> ExchangeRates:
        """The lookup in ``tables``, into ``currency``."""
        return ExchangeRates(self.tables(until), currency)

    def begin(self, days: Mapping[str, Rates]) -> bool:
        """Write the history a log begins with, where there is no log yet; whether it was written.

        days : rates by ISO date. To be called before anything is decided or trained. All or nothing: whoever finds the
        file finds all of it.
        """
        if self.path.exists():
            return False
        with self._locked():
            if self.path.exists():
                return False
            self._write(first_tables(days))
            return True

    def add(self, days: Mapping[str, Rates], not_before_ms: int, *, may_correct: bool = False) -> list[RateTable]:
        """Add what ``later_tables`` makes of ``days``; returns the tables that were added. Durable on return."""
        with self._locked():
            tables = self.tables()
            added = later_tables(tables, days, not_before_ms, may_correct=may_correct)
            if added:
                self._write([*tables, *added])
            return added

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, tables: list[RateTable]) -> None:
        lines = [
            orjson.dumps(
                {
                    "table": table.name,
                    "day": table.day,
                    "in_force_from": format_rfc3339_ms(table.effective_from_ms),
                    "rates": table.rates,
                }
            )
            for table in tables
        ]
        write_durably(self.path, b"".join(line + b"\n" for line in lines))

    def _table(self, number: int, line: bytes) -> RateTable:
        try:
            found = orjson.loads(line)
            table = RateTable(found["day"], parse_rfc3339_ms(found["in_force_from"]), found["rates"])
            if table.name == found["table"]:
                return table
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise OperatorError(
            f"line {number} of {self.path} is not as it was written: payments were decided by it, so restore the file "
            "from a copy"
        )
