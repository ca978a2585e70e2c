"""``./run rates``: which exchange rates are in force, and how a person brings newer or other ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Show the exchange rates in force, or import others.", invoke_without_command=True)


@app.callback()
def show(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from fraud_core.features.exchange_rates import BASE
    from fraud_core.timestamps import format_rfc3339_ms, now_ms

    log, now = _log(), now_ms()
    tables = log.tables()
    newest = {currency: (table, rate) for table in tables for currency, rate in table.rates.items()}
    for currency, (table, rate) in sorted(newest.items()):
        since = format_rfc3339_ms(table.effective_from_ms)
        print(f"{currency}  {rate:14.6f} for one {BASE}, of {table.day}, in force from {since}")
    if not tables:
        print(f"There are no exchange rates in {log.path} yet: the first ./run up, prepare or import writes them")
    elif tables[-1].effective_from_ms > now:
        print(f"The newest table, {tables[-1].name}, is not in force yet")


@app.command(name="import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV with the columns date,currency,rate: what one euro buys.", dir_okay=False)
    ],
) -> None:
    """Add the rates of a file. A rate says how many units of its currency one euro buys (2026-01-30,USD,1.0875).

    Before the stream has begun, the rates count for their own days, in place of those of the European Central Bank for
    the same currency and day. Later, what is in force stays: payments were decided by it. The newest rate of each
    currency is then in force from about an hour later on, and older ones are left out.
    """
    from fraud_core.features.exchange_rates import earliest_in_force_ms
    from fraud_core.input_files.ecb_rates import ecb_rates
    from fraud_core.input_files.rates import RatesFileError, read_rates
    from fraud_core.settings import Settings
    from fraud_core.timestamps import format_rfc3339_ms, now_ms
    from fraud_io.errors import OperatorError

    log = _log()
    try:
        days = read_rates(file, datetime.now(UTC).date())
    except (RatesFileError, OSError) as error:
        raise OperatorError(str(error)) from error
    given = sum(map(len, days.values()))
    if log.begin(with_rates(ecb_rates(), days)):
        print(f"The log of exchange rates begins with {given:,} rates of {file} and the European Central Bank's others")
        return
    tolerance_ms = Settings().reading_rules.future_tolerance_ms
    added = log.add(days, earliest_in_force_ms(now_ms(), tolerance_ms), may_correct=True)
    for table in added:
        since = format_rfc3339_ms(table.effective_from_ms)
        print(f"{table.name}: {len(table.rates)} rates of {table.day}, in force from {since}")
    left_out = given - sum(len(table.rates) for table in added)
    if left_out:
        print(f"{left_out:,} rates are left out: in force already, or older than what is or will be in force")


def with_rates(days: dict, others: dict) -> dict:
    """``days`` with the rates of ``others`` added, or in place of those of the same day and currency."""
    return {day: {**days.get(day, {}), **others.get(day, {})} for day in {**days, **others}}


def _log():
    from fraud_core.settings import Settings
    from fraud_io.exchange_rate_log import ExchangeRateLog

    return ExchangeRateLog(Settings().lake)
