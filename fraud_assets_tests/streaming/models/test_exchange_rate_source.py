"""Which exchange rates the stream uses: all of the log, which it begins where there is none."""

import pytest

from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.timestamps import iso_date_ms
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from streaming.models.exchange_rate_source import ExchangeRateSource

pytestmark = pytest.mark.streaming


def test_a_stream_that_finds_no_log_begins_it_with_the_installed_history(tmp_path):
    source = ExchangeRateSource(ExchangeRateLog(tmp_path), "USD", 0.01)
    source.begin(None)
    assert [table.day for table in source.current.tables] == sorted(day for day, rates in ecb_rates().items() if rates)
    assert source.current.currency == "USD"


def test_a_log_that_is_there_stays_and_a_new_table_is_found(tmp_path):
    log = ExchangeRateLog(tmp_path)
    log.begin({"2026-01-01": {"USD": 1.1}})
    source = ExchangeRateSource(log, "EUR", 0.01)
    source.begin(None)
    first = source.current
    source.look()
    assert source.current is first and len(first.tables) == 1
    (added,) = log.add({"2026-02-01": {"USD": 1.2}}, iso_date_ms("2026-03-01"))
    source.look()
    assert source.current.newest == added.name


def test_a_log_that_lost_what_payments_were_decided_with_is_refused_and_not_begun_anew(tmp_path):
    log = ExchangeRateLog(tmp_path)
    log.begin({"2026-01-01": {"USD": 1.1}})
    ExchangeRateSource(log, "EUR", 0.01).begin(log.tables()[-1].name)
    lost = log.tables()[-1].name
    log.path.unlink()
    with pytest.raises(
        OperatorError, match=f"the exchange rate table {lost} is not in .*: restore that file from a copy"
    ):
        ExchangeRateSource(log, "EUR", 0.01).begin(lost)
    assert not log.path.exists()


def test_a_lake_that_cannot_be_written_before_the_first_decision_is_refused(tmp_path):
    (tmp_path / "lake").write_text("no folder")
    with pytest.raises(OperatorError, match=r"cannot be read from or written to .*\./run prepare"):
        ExchangeRateSource(ExchangeRateLog(tmp_path / "lake"), "EUR", 0.01).begin(None)
