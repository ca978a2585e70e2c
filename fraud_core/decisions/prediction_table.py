"""Predictions read back, as a table for evaluation, drift, the comparison of models and the audit."""

from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from fraud_core.features.table import FEATURES
from fraud_core.timestamps import parse_rfc3339_ms

PREDICTION_COLUMNS = {
    "transaction_id": pl.String,
    "user_id": pl.String,
    "merchant_id": pl.String,
    "currency": pl.String,
    "merchant_category": pl.String,
    "channel": pl.String,
    "country": pl.String,
    "type": pl.String,
    "outcome": pl.String,
    "is_repeat": pl.Boolean,
    "event_time_ms": pl.Int64,
    "ingest_time_ms": pl.Int64,
    "prediction": pl.Int8,
    "score": pl.Float64,
    "threshold": pl.Float64,
    "model_version": pl.String,
    "arm": pl.String,
    "model_is_confirmed": pl.Boolean,
    "shadow_model_version": pl.String,
    "shadow_score": pl.Float64,
    "shadow_prediction": pl.Int8,
    "anomaly_score": pl.Float64,
    "review_sample": pl.Boolean,
    "review_probability": pl.Float64,
    "merchant_risk_table": pl.String,
    "exchange_rate_table": pl.String,
    "rate_missing": pl.Boolean,
    "partition": pl.Int32,
    "offset": pl.Int64,
    **dict.fromkeys(FEATURES, pl.Float64),
}
"""``partition`` and ``offset`` are the transaction's. Null score, threshold and model_version: no model decided."""

IS_FIRST = ~pl.col("is_repeat").fill_null(False)
"""Not a payment that was sent again. Predictions of versions that did not look have null."""

_TIMES = {"event_time_ms": "event_time", "ingest_time_ms": "ingest_time"}
_FIELDS = [name for name in PREDICTION_COLUMNS if name not in FEATURES and name not in _TIMES]


def decode_predictions(values: Sequence[bytes]) -> pl.DataFrame:
    """PREDICTION_COLUMNS of prediction messages, in order; every number to the bit. Features a message lacks are null.

    ValueError for a message that is no prediction.
    """
    columns: dict[str, list[Any]] = {name: [] for name in PREDICTION_COLUMNS}
    for value in values:
        prediction = orjson.loads(value)
        features = prediction["features"]
        for name in _FIELDS:
            columns[name].append(prediction.get(name))
        for name, source in _TIMES.items():
            columns[name].append(parse_rfc3339_ms(prediction[source]))
        for name in FEATURES:
            columns[name].append(features.get(name))
    return pl.DataFrame(columns, schema=PREDICTION_COLUMNS)
