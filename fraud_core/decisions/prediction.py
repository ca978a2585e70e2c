"""Predictions: how a decision is written down. Pure functions of what was decided, so a replay yields the same bytes.

When a transaction was scored differs between two attempts at the same micro-batch: it is not part of the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
import polars as pl

from fraud_core.decisions.json_columns import members, numbers, strings
from fraud_core.decisions.shares import is_within
from fraud_core.features.table import FEATURES

MAX_REASONS = 5

_AMOUNT, _AVERAGE, _RATIO = (FEATURES.index(n) for n in ("amount", "rolling_avg_7d", "amount_to_avg_ratio"))

# A prepared line, filled in two steps: what is the same for all rows that one model decides, then what is a row's own.
# That takes a third of the time of building and serializing a dictionary per transaction.
_TEMPLATE = (
    b'{"transaction_id":"%%b","user_id":"%%b","amount":%%b,"rolling_avg_7d":%%b,"amount_to_avg_ratio":%%b,'
    b'"prediction":%%b,"score":%%b,"threshold":%b,"model_version":%b,"arm":"%b","model_is_confirmed":%b,'
    b'"shadow_model_version":%b,"shadow_score":%%b,"shadow_prediction":%%b,"anomaly_score":%%b,%%b,'
    b'"merchant_risk_table":%%b,"event_time":"%%b","ingest_time":"%%b","partition":%%d,"offset":%%d,'
    b'"reasons":%%b,"features":{%%b}}'
)
_REVIEW = b'"review_sample":%b,"review_probability":%b'
_NULL = b"null"


@dataclass(frozen=True)
class Scored:
    """What one model version says about a batch: ``scores`` (n,) float64 in [0, 1], flagged at or above threshold."""

    version: str
    threshold: float
    scores: np.ndarray

    @cached_property
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

    @cached_property
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
    ids = transactions["transaction_id"].to_list()
    tables = {name: orjson.dumps(name) for name in set(merchant_risk_tables)}
    explained = {row: orjson.dumps(why) for row, why in reasons.items()}
    score, shadow_score, shadow_flag = _said(decisions)
    columns = zip(
        strings(ids),
        strings(transactions["user_id"].to_list()),
        *(numbers(values[:, column]) for column in (_AMOUNT, _AVERAGE, _RATIO)),
        _flags(decisions.is_flagged),
        score,
        shadow_score,
        shadow_flag,
        [_NULL] * len(ids) if decisions.anomaly is None else numbers(decisions.anomaly.scores),
        _reviews(ids, decisions),
        map(tables.__getitem__, merchant_risk_tables),
        _times(transactions["event_time_ms"]),
        _times(transactions["ingest_time_ms"]),
        transactions["partition"].to_list(),
        transactions["offset"].to_list(),
        (explained.get(row, b"[]") for row in range(len(ids))),
        members(FEATURES, values),
        strict=True,
    )
    by_champion, by_challenger = _templates(decisions)
    if not decisions.is_challengers.any():
        return [by_champion % column for column in columns]
    return [
        (by_challenger if is_challengers else by_champion) % column
        for is_challengers, column in zip(decisions.is_challengers.tolist(), columns, strict=True)
    ]


def _templates(decisions: Decisions) -> tuple[bytes, bytes]:
    """The line of a row that the champion decides, and of one that the challenger does."""
    confirmed = orjson.dumps(decisions.model_is_confirmed)
    champion, challenger = (
        (_NULL, _NULL) if scored is None else (orjson.dumps(scored.threshold), orjson.dumps(scored.version))
        for scored in (decisions.champion, decisions.challenger)
    )
    filled = ((*champion, b"champion", confirmed, challenger[1]), (*challenger, b"challenger", confirmed, champion[1]))
    by_champion, by_challenger = (_TEMPLATE % tuple(text.replace(b"%", b"%%") for text in texts) for texts in filled)
    return by_champion, by_challenger


def _said(decisions: Decisions) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Of each row the score of the model that decides, and the score and the flag of its shadow."""
    n = len(decisions.is_challengers)
    (score, flag), (shadow_score, shadow_flag) = (
        ([_NULL] * n, [_NULL] * n) if scored is None else (numbers(scored.scores), _flags(scored.is_flagged))
        for scored in (decisions.champion, decisions.challenger)
    )
    for row in np.flatnonzero(decisions.is_challengers).tolist():
        score[row], shadow_score[row], shadow_flag[row] = shadow_score[row], score[row], flag[row]
    return score, shadow_score, shadow_flag


def _flags(is_flagged: np.ndarray) -> list[bytes]:
    return [b"1" if flagged else b"0" for flagged in is_flagged.tolist()]


def _reviews(ids: list[str], decisions: Decisions) -> list[bytes]:
    """Whether a row that is not flagged is in the review sample, and how likely a row like it was to be looked at."""
    is_flagged = decisions.is_flagged
    is_strange = is_flagged & False if decisions.anomaly is None else decisions.anomaly.is_strange
    is_sampled = (is_strange | is_within(decisions.review_share, "review", ids)) & ~is_flagged
    share = orjson.dumps(decisions.review_share)
    says = [_REVIEW % (sampled, chance) for sampled in (b"false", b"true") for chance in (share, b"1.0")]
    return [says[which] for which in (2 * is_sampled + (is_flagged | is_strange)).tolist()]


def _times(time_ms: pl.Series) -> list[bytes]:
    """RFC 3339 with milliseconds, UTC."""
    return pl.from_epoch(time_ms, "ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").cast(pl.Binary).to_list()
