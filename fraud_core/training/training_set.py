"""Point-in-time training data: features, known labels and the period each row belongs to, as of one moment."""

import polars as pl

from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.merchant_risk import MerchantHistory
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.labels.known import label_transactions
from fraud_core.settings import Settings
from fraud_core.training.split import TimeSplit

ROW_COLUMNS = ("transaction_id", "user_id", "event_time_ms", "currency", "amount_minor", "value_minor")
"""``value_minor``: Int64 minor units of FRAUD_CURRENCY, null without an exchange rate."""


def build_training_set(
    transactions: pl.DataFrame,
    labels: pl.DataFrame,
    as_of_ms: int,
    settings: Settings,
    exchange_rates: ExchangeRates,
) -> pl.DataFrame:
    """What a model may learn from at ``as_of_ms``: only labels known by then, and features as they were served.

    transactions : transaction.COLUMNS, everything that arrived; what is older than the training window is history. A
        transaction_id that arrived twice is one row, its first arrival.
    labels : known.LABEL_COLUMNS.
    Returns ROW_COLUMNS, is_fraud (Boolean), split, then FEATURES as Float32, which is what the trees compare.
    Rows in the gaps between the periods, and with unknown labels, are left out.
    Raises ValueError, naming dates and counts, when a period has no rows or lacks a class.
    """
    split = time_split(as_of_ms, settings)
    arrived = transactions.sort("partition", "offset")
    rows = (
        feature_rows(arrived, labels, settings.label_delay_days, exchange_rates)
        .with_columns(
            is_fraud=label_transactions(arrived, labels, as_of_ms, settings.label_delay_days),
            split=split.assign(arrived["event_time_ms"]),
        )
        .filter(~pl.col("is_repeat") & pl.col("is_fraud").is_not_null() & pl.col("split").is_not_null())
        # Repeats of other users or partitions, and later than a history reaches.
        .unique("transaction_id", keep="first", maintain_order=True)
        .sort("event_time_ms", maintain_order=True)
        .select(*ROW_COLUMNS, "is_fraud", "split", *FEATURES)
    )
    split.require_both_classes(rows)
    return rows


def feature_rows(
    arrived: pl.DataFrame, labels: pl.DataFrame, label_delay_days: int, exchange_rates: ExchangeRates
) -> pl.DataFrame:
    """ROW_COLUMNS, is_repeat and FEATURES as Float32, of each transaction, as it was when it arrived.

    arrived : transaction.COLUMNS, everything, sorted by partition and offset. labels : known.LABEL_COLUMNS.
    """
    batch = compute_features(arrived, None, MerchantHistory(arrived, labels, label_delay_days), exchange_rates)
    features = {name: pl.Series(batch.values[:, column], dtype=pl.Float32) for column, name in enumerate(FEATURES)}
    rows = arrived.with_columns(batch.converted.value_minor)
    return rows.select(*ROW_COLUMNS, is_repeat=batch.is_repeat, **features)


def time_split(as_of_ms: int, settings: Settings) -> TimeSplit:
    """The periods of a training run as of ``as_of_ms``."""
    return TimeSplit.as_of(
        as_of_ms,
        label_delay_days=settings.label_delay_days,
        validation_days=settings.validation_days,
        test_days=settings.test_days,
        training_window_days=settings.training_window_days,
    )
