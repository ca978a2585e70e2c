"""The log of exchange rate tables on disk."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fraud_core.features.exchange_rates import first_tables
from fraud_core.timestamps import DAY_MS, iso_date_ms
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog

DAYS = {"2026-01-01": {"USD": 1.1, "JPY": 170.0}, "2026-01-02": {"USD": 1.2}}
LATER_MS = iso_date_ms("2026-02-01")


@pytest.fixture
def log(tmp_path) -> ExchangeRateLog:
    return ExchangeRateLog(tmp_path / "lake")


def test_tables_come_back_as_they_were_written(log):
    assert log.tables() == [] and log.version() is None
    assert log.begin(DAYS)
    assert log.tables() == first_tables(DAYS)
    assert log.rates("USD").newest == first_tables(DAYS)[-1].name


def test_a_log_begins_once(log):
    assert log.begin(DAYS)
    assert not log.begin({"2026-01-01": {"USD": 9.9}})
    assert log.tables() == first_tables(DAYS)


def test_lines_are_added_at_the_end_and_earlier_ones_stay_to_the_byte(log):
    log.begin(DAYS)
    before, version = log.path.read_bytes(), log.version()
    (added,) = log.add({"2026-01-20": {"USD": 1.3}}, LATER_MS)
    assert added.effective_from_ms == LATER_MS
    assert log.path.read_bytes().startswith(before)
    assert log.version() != version
    assert log.add({"2026-01-20": {"USD": 1.3}}, LATER_MS + DAY_MS) == []


def test_the_newest_table_names_all_before_it(log):
    log.begin(DAYS)
    newest = log.tables()[-1].name
    log.add({"2026-01-20": {"USD": 1.3}}, LATER_MS)
    assert log.tables(until=newest) == first_tables(DAYS)
    with pytest.raises(LookupError, match="2026-01-20-000000000000 is not in"):
        log.tables(until="2026-01-20-000000000000")


@pytest.mark.parametrize(
    ("old", "new"), [(b"1.1", b"1.2"), (b"2026-01-02T06", b"2026-01-02T07"), (b"}\n", b"\n"), (b"{", b"[")]
)
def test_a_line_that_was_edited_is_named(log, old, new):
    log.begin(DAYS)
    log.path.write_bytes(log.path.read_bytes().replace(old, new, 1))
    with pytest.raises(OperatorError, match=r"line 1 of .* is not as it was written"):
        log.tables()


def test_writers_at_the_same_time_lose_nothing(log):
    log.begin(DAYS)
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda n: log.add({f"2026-01-{n:02}": {f"X{n:02}"[:3]: 1.0}}, LATER_MS), range(3, 19)))
    assert sum(map(len, added)) == 16
    assert len(log.tables()) == len(DAYS) + 16
    times = [table.effective_from_ms for table in log.tables()]
    assert times == sorted(set(times))
