"""Asset ``parity_audit`` looks for training/serving skew: it recomputes a sample of what was served, bit for bit."""

from pathlib import Path

import dagster as dg
import polars as pl

from fraud_assets.checks import non_blocking, result
from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.partitions import as_of_ms
from fraud_assets.plots import as_table
from fraud_assets.registry import Registry
from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.history import MAX_AGE_MS
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.folders import Lake
from fraud_io.mlflow_client import MlflowError

CARDS = 300
_AUDITED_MS = DAY_MS  # of event time, up to the newest decision
_SHOWN = 20

CHECKS = {
    "served_is_recomputed": "Features, scores and decisions of the sample are reproduced bit for bit.",
    "all_can_be_recomputed": "The models, risk tables and exchange rates that the sample names can still be loaded.",
}


@dg.asset(
    group_name="monitoring",
    kinds={"polars", "xgboost"},
    owners=["team:fraud-ml"],
    # Of months of both, only the sampled cards are read from the lake.
    deps=["transactions", "predictions"],
    check_specs=non_blocking("parity_audit", **CHECKS),
)
def parity_audit(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]):
    """One comparison per decision of the last day on a sample of cards, drawn anew in every run.

    A card's whole history in its partition is needed for its features, so cards are drawn, not transactions. Left out
    are decisions whose transaction the lake has not read yet, and those whose history began before the lake did.
    """
    from fraud_core.decisions.parity import differences

    served = sample(settings, seed=as_of_ms(context))
    models, unusable = _models(served, Registry(settings, f"dagster run {context.run.run_id}"))
    tables, gone = _tables(served, Lake(settings.lake).merchant_risk)
    rates = ExchangeRateLog(settings.lake).rates(settings.currency)
    unusable |= gone | _without_rates(served, rates)
    made_from = ("model_version", "shadow_model_version", "merchant_risk_table", "exchange_rate_table")
    is_unusable = pl.any_horizontal(pl.col(name).is_in(list(unusable)).fill_null(False) for name in made_from)
    audited = served.filter(~is_unusable)
    transactions = OffsetLog(Lake(settings.lake).transactions).scan(COLUMNS)
    histories = transactions.filter(pl.col("user_id").is_in(audited["user_id"].unique().implode())).collect()
    found = differences(audited, histories, tables, models, rates)
    return dg.MaterializeResult(
        metadata={
            "decisions_audited": audited.height,
            "cards_audited": audited["user_id"].n_unique(),
            "decisions_not_audited": served.height - audited.height,
            "decisions_differing": found["transaction_id"].n_unique(),
            "values_differing": found.height,
            "values_differing_by_field": dict(found.group_by("field").len().sort("field").iter_rows()),
            "first_differences": as_table(found.head(_SHOWN)),
        },
        check_results=[
            result("served_is_recomputed", found.is_empty(), ids=found["transaction_id"].unique().sort().to_list()),
            result("all_can_be_recomputed", not unusable, **unusable),
        ],
    )


def sample(settings: Settings, seed: int) -> pl.DataFrame:
    """PREDICTION_COLUMNS of CARDS cards, drawn by ``seed`` among those of the last day, each position once."""
    from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS

    log = OffsetLog(Lake(settings.lake).predictions)
    newest_ms = log.scan(PREDICTION_COLUMNS).select(pl.col("event_time_ms").max()).collect().item() or 0
    # A history is complete by partition: where its first record was not the topic's, it takes a month to fill.
    known = _known(settings)
    recent = (
        log.scan(PREDICTION_COLUMNS)
        .filter(pl.col("event_time_ms") > newest_ms - _AUDITED_MS)
        .join(known.lazy(), on="partition")
        .filter(pl.col("offset") < pl.col("end"), pl.col("event_time_ms") >= pl.col("whole_from_ms"))
        .select(list(PREDICTION_COLUMNS))
    )
    cards = recent.select("user_id").unique().collect().sort("user_id")["user_id"]
    drawn = cards.sample(min(CARDS, len(cards)), seed=seed % 2**32)
    return recent.filter(pl.col("user_id").is_in(drawn.implode())).unique(["partition", "offset"]).collect()


def _known(settings: Settings) -> pl.DataFrame:
    """Of each partition of ``transactions``: partition, end (offset the lake was read to), whole_from_ms."""
    log = OffsetLog(Lake(settings.lake).transactions)
    schema = {"partition": pl.Int32, "end": pl.Int64, "whole_from_ms": pl.Int64}
    ranges = log.ranges()
    if not ranges:
        return pl.DataFrame(schema=schema)
    first_ms: dict[int, int] = dict(
        log.scan(COLUMNS).group_by("partition").agg(pl.col("event_time_ms").min()).collect().iter_rows()
    )
    rows = [
        (partition, end, first_ms.get(partition, 0) + MAX_AGE_MS if ranges[0].start.get(partition, 0) else 0)
        for partition, end in ranges[-1].end.items()
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _models(served: pl.DataFrame, registry: Registry) -> tuple[dict, dict[str, str]]:
    """The models that ``served`` names, by version; and why the others cannot be used."""
    models, unusable = {}, {}
    for version in pl.concat([served["model_version"], served["shadow_model_version"]]).unique().drop_nulls().sort():
        try:
            models[version] = registry.load(version).open()
        except (ValueError, MlflowError) as error:
            unusable[version] = str(error)
    return models, unusable


def _tables(served: pl.DataFrame, folder: Path) -> tuple[dict, dict[str, str]]:
    """The risk tables that ``served`` names, by file name; and why the others cannot be used."""
    from fraud_core.features.merchant_risk import rows_of_table

    tables, unusable = {}, {}
    for name in served["merchant_risk_table"].unique().drop_nulls().sort():
        try:
            tables[name] = rows_of_table(pl.read_parquet(folder / name))
        except FileNotFoundError:
            unusable[name] = f"it is no longer in {folder}"
    return tables, unusable


def _without_rates(served: pl.DataFrame, rates: ExchangeRates) -> dict[str, str]:
    """Why the exchange rate tables that ``served`` names and the log has not cannot be used, by name."""
    there = {table.name for table in rates.tables}
    named = served["exchange_rate_table"].unique().drop_nulls().sort()
    return {name: "it is no longer in the log of exchange rates" for name in named if name not in there}
