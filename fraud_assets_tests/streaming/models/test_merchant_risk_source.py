"""Which merchant risk tables the stream uses, and what a row's prediction says about it."""

import os

import pytest

from fraud_assets_tests.streaming.parts import risk_table
from fraud_core.timestamps import DAY_MS
from streaming.models.merchant_risk_source import KEPT_TABLES, MerchantRiskSource, load, newest

pytestmark = pytest.mark.streaming


def test_each_row_uses_the_newest_table_not_after_its_event_time(tmp_path):
    first, second = risk_table(tmp_path, 1 * DAY_MS, 0.1), risk_table(tmp_path, 2 * DAY_MS, 0.2)
    tables = load(tmp_path, newest(tmp_path))
    times = [DAY_MS - 1, DAY_MS, 2 * DAY_MS - 1, 2 * DAY_MS, 9 * DAY_MS]
    assert tables.used_for(times) == [None, first, first, second, second]
    assert tables.risk.lookup(["m0"] * 5, times)[:, 1].tolist() == [0.0, 0.1, 0.1, 0.2, 0.2]


def test_of_two_tables_for_one_time_the_one_written_last_is_used(tmp_path):
    older, newer = risk_table(tmp_path, DAY_MS, 0.3), risk_table(tmp_path, DAY_MS, 0.1)
    os.utime(tmp_path / older, (1, 1))
    assert newest(tmp_path) == (newer,)
    os.utime(tmp_path / newer, (0, 0))
    assert newest(tmp_path) == (older,)


def test_only_the_newest_few_are_held(tmp_path):
    names = [risk_table(tmp_path, day * DAY_MS, 0.1) for day in range(1, KEPT_TABLES + 4)]
    assert newest(tmp_path) == tuple(names[-KEPT_TABLES:])


def test_a_new_table_is_found_and_a_temporary_file_is_not(tmp_path):
    source = MerchantRiskSource(tmp_path / "tables", 0.01)
    source.look()
    assert source.current.names == ()
    name = risk_table(tmp_path / "tables", DAY_MS, 0.1)
    (tmp_path / "tables" / f"{name}.tmp").write_bytes(b"half")
    source.look()
    assert source.current.names == (name,)
