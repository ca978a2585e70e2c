"""Predictions: how a decision is written down. Pure functions of what was decided, so a replay yields the same bytes.

When a transaction was scored differs between two attempts at the same micro-batch: it is not part of the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl

from fraud_core.features import FEATURES
from fraud_core.shares import is_within

MAX_REASONS = 5

_AMOUNT, _AVERAGE, _RATIO = (FEATURES.index(n) for n in ("amount", "rolling_avg_7d", "amount_to_avg_ratio"))

# A prepared line: numbers are formatted by one orjson call per batch and set in here, which takes a third of the time
# of building and serializing a dictionary per transaction. orjson's numbers round-trip to the bit.
_TEMPLATE = (
    b'{"transaction_id":%b,"user_id":%b,"amount":%b,"rolling_avg_7d":%b,"amount_to_avg_ratio":%b,'
    b'"prediction":%b,"score":%b,"threshold":%b,"model_version":%b,"arm":"%b","model_is_confirmed":%b,'
    b'"shadow_model_version":%b,"shadow_score":%b,"shadow_prediction":%b,'
    b'"anomaly_score":%b,"review_sample":%b,"review_probability":%b,"merchant_risk_table":%b,'
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


@dataclass(frozen=True)
class Anomaly:
    """How strange the rows of a batch are: ``scores`` (n,) float64 in (0, 1), for review at or above ``limit``."""

    scores: np.ndarray
    limit: float

    @property
    def is_strange(self) -> np.ndarray:
        return self.scores >= self.limit


@dataclass(frozen=True)
class Decisions:
    """What decides a batch of n rows, and what is to be seen by a person.

    champion, challenger : what each model says; None where there is none.
    is_challengers : (n,) bool; rows the challenger decides. The other model of a row is its shadow.
    review_share : of the rows that are not flagged, to be reviewed all the same.
    model_is_confirmed : the registry had said that ``champion`` is the version in production.
    anomaly : what is strange is reviewed, flagged or not; None without a detector.
    """

    champion: Scored | None
    challenger: Scored | None
    is_challengers: np.ndarray
    review_share: float
    model_is_confirmed: bool
    anomaly: Anomaly | None = None

    @property
    def is_flagged(self) -> np.ndarray:
        """(n,) bool, by the model that decides the row."""
        nothing = np.zeros(len(self.is_challengers), dtype=bool)
        by_champion, by_challenger = (
            nothing if scored is None else scored.is_flagged for scored in (self.champion, self.challenger)
        )
        return np.where(self.is_challengers, by_challenger, by_champion)


def encode_predictions(
    transactions: pl.DataFrame,
    values: np.ndarray,
    decisions: Decisions,
    reasons: dict[int, list[dict]],
    merchant_risk_tables: Sequence[str | None],
) -> list[bytes]:
    """JSON bytes (prediction.schema.json) of each row, in order.

    transactions : (n, k) with transaction.COLUMNS. values : (n, len(FEATURES)) float64, finite.
    reasons : by row, for flagged rows. merchant_risk_tables : name of the table each row was looked up in.
    Where no model decides the score is null and the prediction 0.
    """
    tables = {name: orjson.dumps(name) for name in set(merchant_risk_tables)}
    explained = {row: orjson.dumps(why) for row, why in reasons.items()}
    ids = transactions["transaction_id"].to_list()
    strangeness = [_NULL] * len(ids) if decisions.anomaly is None else _numbers(decisions.anomaly.scores)
    columns = zip(
        map(orjson.dumps, ids),
        map(orjson.dumps, transactions["user_id"].to_list()),
        _rows(values),
        *_decision_columns(decisions),
        strangeness,
        *_review_columns(ids, decisions),
        merchant_risk_tables,
        _times(transactions["event_time_ms"]),
        _times(transactions["ingest_time_ms"]),
        transactions["partition"].to_list(),
        transactions["offset"].to_list(),
        strict=True,
    )
    confirmed = orjson.dumps(decisions.model_is_confirmed)
    lines = []
    for row, column in enumerate(columns):
        transaction, user, numbers, decided, shadow, strange, review, chance, *place = column
        table, event, ingest, part, offset = place
        feature = numbers.split(b",")
        own = (transaction, user, feature[_AMOUNT], feature[_AVERAGE], feature[_RATIO])
        origin = (strange, review, chance, tables[table], event, ingest, part, offset, explained.get(row, b"[]"))
        lines.append(_TEMPLATE % (*own, *decided, confirmed, *shadow, *origin, *feature))
    return lines


def _rows(values: np.ndarray) -> list[bytes]:
    """Each row's numbers as JSON, separated by commas."""
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].split(b"],[") if len(values) else []


def _decision_columns(decisions: Decisions) -> tuple[list[tuple], list[tuple]]:
    """Of each row: (prediction, score, threshold, version, arm) of the model that decides, and what its shadow says."""
    n = len(decisions.is_challengers)
    champion = _said_by(decisions.champion, n)
    challenger = _said_by(decisions.challenger, n)
    decided = [(flag or b"0", *rest, b"champion") for flag, *rest in champion]
    shadow = [(version, score, flag or _NULL) for flag, score, _, version in challenger]
    for row in np.flatnonzero(decisions.is_challengers).tolist():
        flag, score, _, version = champion[row]
        decided[row] = (challenger[row][0] or b"0", *challenger[row][1:], b"challenger")
        shadow[row] = (version, score, flag or _NULL)
    return decided, shadow


def _said_by(scored: Scored | None, n: int) -> list[tuple]:
    """Of each row: flag (None without a model), score, threshold, version."""
    if scored is None:
        return [(None, _NULL, _NULL, _NULL)] * n
    threshold, version = orjson.dumps(scored.threshold), orjson.dumps(scored.version)
    flags = [b"1" if is_flagged else b"0" for is_flagged in scored.is_flagged.tolist()]
    return [(flag, score, threshold, version) for flag, score in zip(flags, _numbers(scored.scores), strict=True)]


def _numbers(values: np.ndarray) -> list[bytes]:
    """Each of (n,) float64 as JSON."""
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") if len(values) else []


def _review_columns(ids: list[str], decisions: Decisions) -> tuple[list[bytes], list[bytes]]:
    """Whether a row that is not flagged is in the review sample, and how likely a row like it was to be looked at."""
    is_flagged = decisions.is_flagged
    is_strange = is_flagged & False if decisions.anomaly is None else decisions.anomaly.is_strange
    is_sampled = (is_strange | is_within(decisions.review_share, "review", ids)) & ~is_flagged
    share = orjson.dumps(decisions.review_share)
    return (
        [b"true" if sampled else b"false" for sampled in is_sampled.tolist()],
        [b"1.0" if is_certain else share for is_certain in (is_flagged | is_strange).tolist()],
    )


def _times(time_ms: pl.Series) -> list[bytes]:
    """RFC 3339 with milliseconds, UTC."""
    text = np.datetime_as_string(time_ms.to_numpy().astype("datetime64[ms]"), unit="ms", timezone="UTC")
    return text.astype("S24").tolist()
