"""Asset ``exchange_rates``: the tables by which amounts are converted, in training and in the stream."""

import dagster as dg

from fraud_assets.checks import non_blocking, warning
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, format_rfc3339_ms, iso_date_ms, now_ms
from fraud_io.exchange_rate_log import ExchangeRateLog

OLD_DAYS = 45  # the package that ships the rates is released every month


@dg.asset(
    group_name="features",
    kinds={"json"},
    owners=["team:fraud-ml"],
    check_specs=non_blocking(
        "exchange_rates",
        rates_are_recent=f"The newest rates are not older than {OLD_DAYS} days. ./run rates import brings newer ones.",
    ),
)
def exchange_rates(settings: dg.ResourceParam[Settings]):
    """One table a day with rates: what one euro buys of each currency, in force from the next morning on.

    Days that the log has not got yet are added from the history that is installed. A table never changes: payments may
    already have been converted by it, so one that comes late is in force from an hour later on.
    """
    from fraud_core.features.exchange_rates import earliest_in_force_ms
    from fraud_core.input_files.ecb_rates import ecb_rates

    log, now = ExchangeRateLog(settings.lake), now_ms()
    days = ecb_rates()
    if not log.begin(days):
        log.add(days, earliest_in_force_ms(now, settings.reading_rules.future_tolerance_ms))
    tables = log.tables()
    newest = tables[-1]
    age_days = (now - iso_date_ms(max(table.day for table in tables))) / DAY_MS
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(tables),
            "newest_table": newest.name,
            "in_force_from": format_rfc3339_ms(newest.effective_from_ms),
            "age_days": age_days,
            "currencies": len(newest.rates),
            "path": dg.MetadataValue.path(log.path),
        },
        check_results=[warning("rates_are_recent", age_days <= OLD_DAYS, age_days=age_days)],
    )
