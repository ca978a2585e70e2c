"""Asset ``training_set``: point-in-time features and labels, and the checks that nothing from the future is in it."""

import itertools
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg
import polars as pl

from fraud_assets.checks import blocking, features_are_finite, result
from fraud_assets.lake.offset_log import Offsets
from fraud_assets.lineage import log_dataset, log_origin
from fraud_assets.partitions import as_of_ms
from fraud_assets.plots import as_markdown
from fraud_core import plots
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, SECOND_MS, day_of
from fraud_io.exchange_rate_log import ExchangeRateLog

_AS_OF, _LABELS_UNTIL = "as_of", "labels_until"


@dg.asset(
    group_name="training",
    kinds={"polars", "parquet"},
    owners=["team:fraud-ml"],
    io_manager_key="parquet",
    # Not read: the rows look up the same tables, computed for every day at once. But a day whose table cannot be
    # published must not get a model that expects it.
    deps=["merchant_risk", "exchange_rates"],
    check_specs=blocking(
        "training_set",
        is_not_empty="Train, validation and test all have rows.",
        both_classes="Each of train, validation and test holds frauds and genuine transactions.",
        features_are_finite="No feature is missing, NaN or infinite.",
        periods_are_purged="Validation follows train, and test validation, each a label delay later.",
        labels_were_known="Each fraud was reported by the as-of time, and all rows are a label delay older than it.",
    ),
)
def training_set(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    transactions: pl.DataFrame,
    labels: pl.DataFrame,
):
    """One row per transaction whose label was known at the end of the day, with its features at the time it arrived.

    `split` is train, validation or test, each a label delay later than the one before.
    """
    from fraud_core.training.training_set import build_training_set

    as_of = as_of_ms(context)
    rows = build_training_set(
        transactions, labels, as_of, settings, ExchangeRateLog(settings.lake).rates(settings.currency)
    )
    read = log_origin(mlflow, settings, as_of)
    log_dataset(mlflow, rows, "training_set", context.partition_key, "training, validation and test")
    by_split = rows.group_by("split").agg(pl.len().alias("rows"), pl.col("is_fraud").mean().alias("fraud_rate"))
    by_day = rows.group_by(day_of("event_time_ms")).agg(pl.col("is_fraud").mean().alias("fraud_rate")).sort("day")
    return dg.MaterializeResult(
        value=rows,
        metadata={
            "dagster/row_count": rows.height,
            _AS_OF: dg.MetadataValue.timestamp(as_of / SECOND_MS),
            _LABELS_UNTIL: {str(partition): offset for partition, offset in read["labels"].items()},
            "fraud_rate": cast("float | None", rows["is_fraud"].mean()),
            **{f"rows_{split}": count for split, count, _ in by_split.sort("split").iter_rows()},
            **{f"fraud_rate_{split}": rate for split, _, rate in by_split.sort("split").iter_rows()},
            "fraud_per_day": as_markdown(plots.fraud_rate_per_day(by_day, "Share of fraud by event date")),
        },
        check_results=check(rows, labels, as_of, settings.label_delay_days),
    )


@dataclass(frozen=True)
class Training:
    """as_of_ms : the as-of time of a training. labels : the offsets up to which it knew the labels."""

    as_of_ms: int
    labels: Offsets


def last_training(instance: dg.DagsterInstance) -> Training | None:
    """The newest training that reached its training set; None before the first."""
    event = instance.get_latest_materialization_event(dg.AssetKey("training_set"))
    if event is None or event.asset_materialization is None:
        return None
    metadata = event.asset_materialization.metadata
    labels = {
        int(partition): offset for partition, offset in cast(dict[str, int], metadata[_LABELS_UNTIL].value).items()
    }
    return Training(round(cast(float, metadata[_AS_OF].value) * SECOND_MS), labels)


def check(rows: pl.DataFrame, labels: pl.DataFrame, as_of: int, label_delay_days: int) -> list[dg.AssetCheckResult]:
    by_split = {split: rows.filter(pl.col("split") == split)["is_fraud"] for split in ("train", "validation", "test")}
    reported = labels.filter("is_fraud", pl.col("label_time_ms") <= as_of)
    unreported = rows.filter("is_fraud").join(reported, on="transaction_id", how="anti").height
    too_new = rows.filter(pl.col("event_time_ms") >= as_of - label_delay_days * DAY_MS).height
    times = {split: rows.filter(pl.col("split") == split)["event_time_ms"] for split in by_split}
    gaps_ms = [
        (cast("int | None", times[after].min()) or 0) - (cast("int | None", times[before].max()) or 0)
        for before, after in itertools.pairwise(times)
    ]
    purged = all(gap_ms >= label_delay_days * DAY_MS for gap_ms in gaps_ms)
    return [
        result("periods_are_purged", purged, shortest_gap_days=min(gaps_ms) / DAY_MS),
        result("is_not_empty", all(len(part) for part in by_split.values()), rows=rows.height),
        result("both_classes", all(part.any() and not part.all() for part in by_split.values())),
        features_are_finite(rows),
        result("labels_were_known", unreported == too_new == 0, frauds_unreported=unreported, rows_too_new=too_new),
    ]
