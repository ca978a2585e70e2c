"""The asset that publishes exchange rates."""

import dagster as dg
import pytest

from fraud_assets.assets.features import exchange_rates as asset
from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.settings import Settings
from fraud_core.timestamps import HOUR_MS, now_ms
from fraud_io.exchange_rate_log import ExchangeRateLog

pytestmark = pytest.mark.assets


def materialize(settings: Settings) -> tuple[dict, dg.AssetCheckEvaluation]:
    run = dg.materialize([asset.exchange_rates], resources={"settings": settings})
    (event,) = run.asset_materializations_for_node("exchange_rates")
    (check,) = run.get_asset_check_evaluations()
    return {name: entry.value for name, entry in event.metadata.items()}, check


def test_the_first_run_writes_the_history_and_a_second_one_adds_nothing(tmp_path):
    settings = Settings(home=tmp_path)
    first, _ = materialize(settings)
    content = ExchangeRateLog(settings.lake).path.read_bytes()
    second, _ = materialize(settings)
    assert ExchangeRateLog(settings.lake).path.read_bytes() == content
    assert first["dagster/row_count"] == second["dagster/row_count"] == len(ecb_rates())
    assert first["newest_table"].startswith(max(ecb_rates()))


def test_days_that_the_log_lacks_are_added_behind_what_is_in_force(tmp_path):
    settings, days = Settings(home=tmp_path, future_tolerance_s=7200), ecb_rates()
    newest = max(days)
    ExchangeRateLog(settings.lake).begin({day: rates for day, rates in days.items() if day < newest})
    began = now_ms()
    materialize(settings)
    added = ExchangeRateLog(settings.lake).tables()[-1]
    assert (added.day, added.rates) == (newest, days[newest])
    assert added.effective_from_ms >= began + 3 * HOUR_MS


@pytest.mark.parametrize("old_days", [0, 10**6])
def test_old_rates_warn(tmp_path, monkeypatch, old_days):
    monkeypatch.setattr(asset, "OLD_DAYS", old_days)
    found, check = materialize(Settings(home=tmp_path))
    assert check.passed is (found["age_days"] <= old_days)
    assert check.severity is dg.AssetCheckSeverity.WARN
