"""Asset ``drift``: whether what the stream serves still looks like what the champion was trained on."""

from typing import TYPE_CHECKING, cast

import dagster as dg
import polars as pl
from pydantic import TypeAdapter

from fraud_assets.checks import non_blocking, result
from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.plots import as_markdown, as_table
from fraud_assets.registry import Champion, Registry, servable_champion
from fraud_core import plots
from fraud_core.monitoring.drift import (
    REFERENCE_DAYS,
    SCORE,
    Reference,
    TooFewDaysError,
    judge,
    make_reference,
    monitored,
    newest_alarm,
    statistics,
)
from fraud_core.monitoring.refusal_rate import refusals_by_day
from fraud_core.payments.dead_letter import DEAD_LETTER_COLUMNS
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, iso_date_ms
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.files import write_durably
from fraud_io.folders import Lake

if TYPE_CHECKING:
    from fraud_core.monitoring.drift import Alarm

SHOWN_DAYS = 28
_HISTORY_DAYS = 38  # merchant risk looks furthest back: 30 days, a label delay and an hour

CHECKS = {
    "features_are_stable": "No feature was beyond its limit on two of the last three days.",
    "score_is_stable": "The champion's score was not beyond its limit on two of the last three days.",
    "no_feature_is_constant": "No feature that used to vary held one value all day.",
    "dead_letters_are_rare": "On the newest day no more records were refused than the days before suggest.",
}


@dg.asset(
    group_name="monitoring",
    kinds={"polars"},
    owners=["team:fraud-ml"],
    # Read from the lake only as far as needed: of months of predictions, the last four weeks.
    deps=["transactions", "predictions", "dead_letters"],
    check_specs=non_blocking("drift", **CHECKS),
)
def drift(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], labels: pl.DataFrame):
    """One verdict per feature and day of event time, for the finished days since the champion was trained.

    The reference is the four weeks before that training. Retraining brings a new one with the new champion.
    """
    refused = refusals_by_day(_served(settings), OffsetLog(Lake(settings.lake).dead_letters).scan(DEAD_LETTER_COLUMNS))
    champion = servable_champion(Registry(settings, f"dagster run {context.run.run_id}"), context.log)
    try:
        reference = None if champion is None else reference_of(champion, settings, labels)
    except TooFewDaysError as error:
        context.log.warning(f"nothing to compare with: {error}")
        reference = None
    if champion is None or reference is None:
        return dg.MaterializeResult(
            metadata={"champion": champion.version if champion else "none", "days_judged": 0},
            check_results=check(None, refused),
        )
    judged = judge(statistics(served_days(champion, reference, settings), reference), reference)
    alarm = newest_alarm(judged) if judged.height else None
    newest = judged.filter(pl.col("day") == judged["day"].max()).sort("excess", descending=True)
    return dg.MaterializeResult(
        metadata={
            "champion": champion.version,
            "reference": f"{reference.first} to {reference.last}",
            "days_judged": judged["day"].n_unique(),
            "newest_day": str(judged["day"].max()),
            "drifting": list(alarm.drifting) if alarm else [],
            "constant": list(alarm.constant) if alarm else [],
            "alarm_since": str(alarm.since) if alarm else "None",
            "largest_excess": cast("float | None", newest["excess"].max()) or 0.0,
            "newest_day_by_excess": as_table(newest.select("name", "psi", "ks", "excess", "is_alarm").head(10)),
            "refused_by_day": as_table(refused.tail(SHOWN_DAYS).with_columns(pl.col("day").cast(pl.String))),
            **({"heat_map": as_markdown(plots.drift_heat_map(judged))} if judged.height else {}),
        },
        check_results=check(alarm, refused),
    )


def reference_of(champion: Champion, settings: Settings, labels: pl.DataFrame) -> Reference:
    """The four weeks before the champion's training, with its scores; computed once, then kept in the lake.

    TooFewDaysError when the lake holds too few of those days.
    """
    # TimeSplit begins the training window that many days before the moment a training is as of.
    as_of_ms = champion.model.card.training_window[0] + settings.training_window_days * DAY_MS
    file = Lake(settings.lake).drift_references / f"reference-{champion.version}-{as_of_ms}.json"
    kept = TypeAdapter(Reference)
    if not file.exists():
        # Nobody writes it again: an empty one after a power cut would stay.
        write_durably(file, kept.dump_json(_make_reference(champion, as_of_ms, settings, labels)))
    return kept.validate_json(file.read_bytes())


def _make_reference(champion: Champion, as_of_ms: int, settings: Settings, labels: pl.DataFrame) -> Reference:
    from fraud_core.features.merchant_risk import MerchantHistory
    from fraud_core.features.table import FEATURES, compute_features

    arrived = OffsetLog(Lake(settings.lake).transactions).scan(COLUMNS).filter(pl.col("event_time_ms") < as_of_ms)
    newest_ms = arrived.select(pl.col("event_time_ms").max()).collect().item() or 0
    first_ms = newest_ms - (newest_ms % DAY_MS) - REFERENCE_DAYS * DAY_MS
    known = arrived.filter(pl.col("event_time_ms") >= first_ms - _HISTORY_DAYS * DAY_MS).collect()
    known = known.sort("partition", "offset")
    risk = MerchantHistory(known, labels, settings.label_delay_days)
    batch = compute_features(known, None, risk, ExchangeRateLog(settings.lake).rates(settings.currency))
    rows = known.select("event_time_ms").with_columns(**dict(zip(FEATURES, batch.values.T, strict=True)))
    rows = rows.filter(~pl.Series(batch.is_repeat)).filter(pl.col("event_time_ms") >= first_ms)
    scores = champion.model.score(rows.select(FEATURES).to_numpy())
    return make_reference(rows.with_columns(pl.Series(SCORE, scores)), monitored(FEATURES))


def served_days(champion: Champion, reference: Reference, settings: Settings) -> pl.DataFrame:
    """event_time_ms, features and the champion's score of what was served on the days after the reference.

    Of the last SHOWN_DAYS, without the newest day, which is unfinished. The score is null where another model was
    asked.
    """
    from fraud_core.decisions.prediction_table import IS_FIRST
    from fraud_core.features.table import FEATURES

    served = _served(settings)
    newest_ms = served.select(pl.col("event_time_ms").max()).collect().item() or 0
    end_ms = newest_ms // DAY_MS * DAY_MS
    begin_ms = max(iso_date_ms(reference.last) + DAY_MS, end_ms - SHOWN_DAYS * DAY_MS)
    score = (
        pl.when(pl.col("model_version") == champion.version)
        .then("score")
        .when(pl.col("shadow_model_version") == champion.version)
        .then("shadow_score")
    )
    return (
        served.filter(IS_FIRST, pl.col("event_time_ms").is_between(begin_ms, end_ms, closed="left"))
        .unique("transaction_id", keep="any")
        .select("event_time_ms", *FEATURES, score.alias(SCORE))
        .collect()
    )


def check(alarm: "Alarm | None", refused: pl.DataFrame) -> list[dg.AssetCheckResult]:
    """alarm : None when no day could be judged."""
    drifting, constant = (alarm.drifting, alarm.constant) if alarm else ((), ())
    features = [name for name in drifting if name != SCORE]
    newest = refused.tail(1).to_dicts()
    counts = {name: newest[0][name] for name in ("records", "refused", "limit")} if newest else {}
    return [
        result("features_are_stable", not features, drifting=features),
        result("score_is_stable", SCORE not in drifting),
        result("no_feature_is_constant", not constant, constant=list(constant)),
        result("dead_letters_are_rare", not (newest and newest[0]["is_alarm"]), **counts),
    ]


def _served(settings: Settings) -> pl.LazyFrame:
    from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS  # here and not above: the import compiles

    return OffsetLog(Lake(settings.lake).predictions).scan(PREDICTION_COLUMNS)
