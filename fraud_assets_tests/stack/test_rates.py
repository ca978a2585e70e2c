"""``./run rates``."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.timestamps import HOUR_MS, now_ms
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_stack.rates import app

TODAY = datetime.now(UTC).date()


@pytest.fixture
def log(tmp_path, monkeypatch) -> ExchangeRateLog:
    monkeypatch.setenv("FRAUD_HOME", str(tmp_path))
    return ExchangeRateLog(tmp_path / "lake")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception:
        raise result.exception
    return result.stdout


def rates_file(folder, *lines: str) -> str:
    file = folder / "rates.csv"
    file.write_text("\n".join(["date,currency,rate", *lines]))
    return str(file)


def test_before_the_stream_began_rates_count_for_their_own_days(log, tmp_path):
    assert "no exchange rates" in run()
    run("import", rates_file(tmp_path, "2024-05-02,KWD,0.33", "2024-05-02,USD,2.0"))
    tables = {table.day: table for table in log.tables()}
    assert tables["2024-05-02"].rates == {**ecb_rates()["2024-05-02"], "KWD": 0.33, "USD": 2.0}
    assert "KWD" in run()


def test_later_the_newest_rate_of_each_currency_is_in_force_from_an_hour_later_on(log, tmp_path):
    log.begin(ecb_rates())
    before = log.path.read_bytes()
    days = [(TODAY - timedelta(days=ago)).isoformat() for ago in (2, 3)]
    began = now_ms()
    file = rates_file(tmp_path, *(f"{day},{code},1.5" for day in days for code in ("KWD", "USD")))
    said = run("import", file)
    assert log.path.read_bytes().startswith(before)
    (added,) = log.tables()[len(before.splitlines()) :]
    assert (added.day, added.rates) == (days[0], {"KWD": 1.5, "USD": 1.5})
    assert began + HOUR_MS < added.effective_from_ms < began + 2 * HOUR_MS
    assert "2 rates are left out" in said
    assert "is not in force yet" in run()
    assert "4 rates are left out" in run(
        "import", rates_file(tmp_path, *(f"{d},{c},1.5" for d in days for c in ("KWD", "USD")))
    )
