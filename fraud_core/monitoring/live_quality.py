"""How good the decisions of each model version were once labels came, beside what was expected without them.

A cohort holds transactions of a minimum age, judged by the labels known at that age: the same payments are judged at 7,
14 and 30 days, and the figures change as chargebacks come in. Silence counts as genuine, as everywhere.
"""

import polars as pl

from fraud_core.decisions.review import recall_by_review
from fraud_core.evaluation.intervals import card_intervals
from fraud_core.evaluation.report import card_precision_at_k
from fraud_core.model.roles import CHAMPION
from fraud_core.money import value_minor
from fraud_core.monitoring.cbpe import expected_quality
from fraud_core.monitoring.cohorts import Cohort, LiveQuality, maturities
from fraud_core.timestamps import DAY_MS, day_of, earliest_ms, latest_ms

LOOKED_BACK_DAYS = 60  # versions that decided nothing since are history
_K = 100


def decisions(served: pl.DataFrame, as_of_ms: int) -> pl.DataFrame:
    """Of ``served`` (PREDICTION_COLUMNS) what a model decided in the LOOKED_BACK_DAYS before ``as_of_ms``.

    Returns transaction_id, user_id, event_time_ms, model_version, is_champions, amount (the feature), rate_missing,
    score, is_flagged, review_sample, review_probability, in order of arrival: sums of floats depend on it.
    """
    recent = pl.col("event_time_ms").is_between(as_of_ms - LOOKED_BACK_DAYS * DAY_MS, as_of_ms)
    decided = served.filter(recent & pl.col("model_version").is_not_null()).sort("partition", "offset")
    return decided.select(
        *("transaction_id", "user_id", "event_time_ms", "model_version", "score"),
        *("review_sample", "review_probability", "amount", "rate_missing"),
        is_champions=pl.col("arm") == CHAMPION,
        is_flagged=pl.col("prediction") == 1,
    )


def at_age(decided: pl.DataFrame, labels: pl.DataFrame, as_of_ms: int, maturity_days: int) -> pl.DataFrame:
    """The decisions that are old enough at ``as_of_ms``, with what was known of each at the age of ``maturity_days``.

    Adds is_fraud (by the last label; without one genuine), is_reported (some label is not an analyst's) and is_reviewed
    (some label is an analyst's).
    """
    age_ms = maturity_days * DAY_MS
    old = decided.filter(pl.col("event_time_ms") + age_ms <= as_of_ms)
    is_analysts = pl.col("source") == "analyst"
    known = (
        labels.join(old.select("transaction_id", "event_time_ms"), on="transaction_id")
        .filter(pl.col("label_time_ms") <= pl.col("event_time_ms") + age_ms)
        .sort("label_time_ms", "partition", "offset")
        .group_by("transaction_id")
        .agg(pl.col("is_fraud").last(), is_reported=(~is_analysts).any(), is_reviewed=is_analysts.any())
    )
    added = ("is_fraud", "is_reported", "is_reviewed")
    return old.join(known, on="transaction_id", how="left", maintain_order="left").with_columns(
        pl.col(name).fill_null(False) for name in added
    )


def live_quality(
    served: pl.DataFrame,
    labels: pl.DataFrame,
    as_of_ms: int,
    *,
    label_delay_days: int,
    period_days: int,
    currency: str,
    seed: int = 7,
) -> LiveQuality:
    """For each version and each age of ``maturities``, a cohort of the last ``period_days`` that have it.

    served : PREDICTION_COLUMNS, a transaction once. labels : known.LABEL_COLUMNS, none in quarantine. currency : of the
    features, and so of the amounts.
    """
    decided = decisions(served, as_of_ms)
    was_champion_ms = pl.col("event_time_ms").filter("is_champions").max()
    versions = decided.group_by("model_version").agg(was_champion_ms).sort("event_time_ms", "model_version")
    judged = {days: at_age(decided, labels, as_of_ms, days) for days in maturities(label_delay_days)}
    cohorts = []
    for version in versions["model_version"]:
        for days, rows in judged.items():
            own = rows.filter(pl.col("model_version") == version)
            if own.height:
                from_ms = latest_ms(own["event_time_ms"]) + 1 - period_days * DAY_MS
                cohorts.append(_cohort(version, days, own.filter(pl.col("event_time_ms") >= from_ms), currency, seed))
    return LiveQuality(as_of_ms, tuple(cohorts))


def daily(served: pl.DataFrame, labels: pl.DataFrame, as_of_ms: int, label_delay_days: int) -> pl.DataFrame:
    """Recall of each version by day of the payments, measured where labels are mature, and expected up to now.

    Returns model_version, day Date, frauds (null: not known yet), recall (null: not known yet, or without frauds) and
    expected_recall.
    """
    decided = decisions(served, as_of_ms)
    by = ("model_version", day_of("event_time_ms"))
    score, is_flagged = pl.col("score"), pl.col("is_flagged")
    expected = decided.group_by(by).agg(
        until_ms=pl.col("event_time_ms").max(), expected_recall=(score * is_flagged).sum() / score.sum()
    )
    # A day is shown once all of it is mature.
    is_mature = pl.col("until_ms") + label_delay_days * DAY_MS <= as_of_ms
    measured = (
        at_age(decided, labels, as_of_ms, label_delay_days)
        .group_by(by)
        .agg(
            frauds=pl.col("is_fraud").sum(),
            recall=(pl.col("is_fraud") & is_flagged).sum() / pl.col("is_fraud").sum(),
        )
    )
    return (
        expected.join(measured, on=["model_version", "day"], how="left")
        .with_columns(pl.when(is_mature).then(name).alias(name) for name in ("frauds", "recall"))
        .with_columns(pl.col("recall").fill_nan(None), pl.col("expected_recall").fill_nan(None))
        .select("model_version", "day", "frauds", "recall", "expected_recall")
        .sort("model_version", "day")
    )


def _cohort(version: str, maturity_days: int, rows: pl.DataFrame, currency: str, seed: int) -> Cohort:
    rows = rows.with_columns(value_minor=value_minor(currency))
    scores, is_flagged = rows["score"].to_numpy(), rows["is_flagged"].to_numpy()
    figures = card_intervals(rows, scores, is_flagged, seed=seed)
    caught, frauds = rows.filter("is_flagged", "is_fraud"), rows.filter("is_fraud")
    caught_minor = int(caught["value_minor"].sum())
    return Cohort(
        model_version=version,
        maturity_days=maturity_days,
        from_ms=earliest_ms(rows["event_time_ms"]),
        until_ms=latest_ms(rows["event_time_ms"]) + 1,
        transactions=rows.height,
        flagged=int(is_flagged.sum()),
        frauds=frauds.height,
        caught=caught.height,
        caught_minor=caught_minor,
        missed_minor=int(frauds["value_minor"].sum()) - caught_minor,
        precision=figures.get("precision"),
        recall=figures.get("recall"),
        f2=figures.get("f2"),
        average_precision=figures.get("average_precision"),
        recall_by_review=recall_by_review(rows),
        card_precision_at_100=card_precision_at_k(rows, scores, _K, without_detected=True) if frauds.height else None,
        expected=expected_quality(scores, is_flagged),
        currency=currency,
        without_rate=rows["value_minor"].null_count(),
    )
