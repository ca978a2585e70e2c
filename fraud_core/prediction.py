"""Predictions: how a decision is written down. Pure functions of what was decided, so a replay yields the same bytes.

When a transaction was scored differs between two attempts at the same micro-batch: it is not part of the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl

from fraud_core.features import FEATURES

MAX_REASONS = 5

_AMOUNT, _AVERAGE, _RATIO = (FEATURES.index(n) for n in ("amount", "rolling_avg_7d", "amount_to_avg_ratio"))

# A prepared line: numbers are formatted by one orjson call per batch and set in here, which takes a third of the time
# of building and serializing a dictionary per transaction. orjson's numbers round-trip to the bit.
_TEMPLATE = (
    b'{"transaction_id":%b,"user_id":%b,"amount":%b,"rolling_avg_7d":%b,"amount_to_avg_ratio":%b,'
    b'"prediction":%b,"score":%b,"threshold":%b,"model_version":%b,"model_is_confirmed":%b,'
    b'"shadow_model_version":%b,"shadow_score":%b,"shadow_prediction":%b,"merchant_risk_table":%b,'
    b'"event_time":"%b","ingest_time":"%b","partition":%d,"offset":%d,'
    b'"reasons":%b,"features":{' + b",".join(b'"%b":%%b' % name.encode() for name in FEATURES) + b"}}"
)
_NULL = b"null"


@dataclass(frozen=True)
class Scored:
    """What one model version says about a batch: ``scores`` (n,) float64 in [0, 1], flagged at or above threshold."""

    version: str
    threshold: float
    scores: np.ndarray

    @property
    def is_flagged(self) -> np.ndarray:
        return self.scores >= self.threshold


def top_reasons(values: np.ndarray, contributions: np.ndarray) -> list[list[dict]]:
    """Per row the features that raised the score most, largest contribution first; at most MAX_REASONS, all positive.

    values, contributions : (n, len(FEATURES)) float64; contributions in log-odds.
    """
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :MAX_REASONS]
    return [
        [
            {"feature": FEATURES[at], "value": float(value[at]), "contribution": float(contribution[at])}
            for at in columns
            if contribution[at] > 0
        ]
        for columns, value, contribution in zip(order.tolist(), values, contributions, strict=True)
    ]


def encode_predictions(
    transactions: pl.DataFrame,
    values: np.ndarray,
    champion: Scored | None,
    challenger: Scored | None,
    reasons: dict[int, list[dict]],
    merchant_risk_tables: Sequence[str | None],
    *,
    model_is_confirmed: bool,
) -> list[bytes]:
    """JSON bytes (prediction.schema.json) of each row, in order.

    transactions : (n, k) with transaction.COLUMNS. values : (n, len(FEATURES)) float64, finite.
    reasons : by row, for flagged rows. merchant_risk_tables : name of the table each row was looked up in.
    model_is_confirmed : the registry had said that ``champion`` is the version in production.
    Without a champion the score is null and the prediction 0.
    """
    n = len(transactions)
    tables = {name: orjson.dumps(name) for name in set(merchant_risk_tables)}
    explained = {row: orjson.dumps(why) for row, why in reasons.items()}
    columns = zip(
        map(orjson.dumps, transactions["transaction_id"].to_list()),
        map(orjson.dumps, transactions["user_id"].to_list()),
        _rows(values),
        *_decision_columns(champion, n, b"0"),
        *_decision_columns(challenger, n, _NULL),
        merchant_risk_tables,
        _times(transactions["event_time_ms"]),
        _times(transactions["ingest_time_ms"]),
        transactions["partition"].to_list(),
        transactions["offset"].to_list(),
        strict=True,
    )
    threshold, version = _model_fields(champion)
    _, shadow_version = _model_fields(challenger)
    confirmed = orjson.dumps(model_is_confirmed)
    lines = []
    for row, column in enumerate(columns):
        transaction, user, numbers, flag, score, shadow_flag, shadow_score, table, event, ingest, part, offset = column
        feature = numbers.split(b",")
        own = (transaction, user, feature[_AMOUNT], feature[_AVERAGE], feature[_RATIO])
        decided = (flag, score, threshold, version, confirmed)
        shadow = (shadow_version, shadow_score, shadow_flag)
        origin = (tables[table], event, ingest, part, offset, explained.get(row, b"[]"))
        lines.append(_TEMPLATE % (*own, *decided, *shadow, *origin, *feature))
    return lines


def _rows(values: np.ndarray) -> list[bytes]:
    """Each row's numbers as JSON, separated by commas."""
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].split(b"],[") if len(values) else []


def _decision_columns(scored: Scored | None, n: int, undecided: bytes) -> tuple[list[bytes], list[bytes]]:
    if scored is None:
        return [undecided] * n, [_NULL] * n
    scores = orjson.dumps(scored.scores, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    flags = [b"1" if is_flagged else b"0" for is_flagged in scored.is_flagged.tolist()]
    return flags, scores.split(b",") if n else []


def _model_fields(scored: Scored | None) -> tuple[bytes, bytes]:
    return (_NULL, _NULL) if scored is None else (orjson.dumps(scored.threshold), orjson.dumps(scored.version))


def _times(time_ms: pl.Series) -> list[bytes]:
    """RFC 3339 with milliseconds, UTC."""
    text = np.datetime_as_string(time_ms.to_numpy().astype("datetime64[ms]"), unit="ms", timezone="UTC")
    return text.astype("S24").tolist()
