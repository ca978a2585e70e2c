"""Predictions: how a decision is written down. Pure functions of what was decided, so a replay yields the same bytes.

When a transaction was scored differs between two attempts at the same micro-batch: it is not part of the value.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import polars as pl

from fraud_core.decisions.shares import is_within
from fraud_core.features.exchange_rates import RatesUsed
from fraud_core.features.table import FEATURES
from fraud_core.money import minor_units_of, to_major_units

MAX_REASONS = 5

_AVERAGE, _RATIO = (FEATURES.index(n) for n in ("rolling_avg_7d", "amount_to_avg_ratio"))

_OF_THE_PAYMENT = ("currency", "merchant_category", "channel", "country", "type", "outcome")

_BLOCK = 500  # rows whose values are Python objects at a time: when they leave the cache, each costs half as much again

_Features = msgspec.defstruct("_Features", [(name, float) for name in FEATURES], gc=False)


class _Prediction(msgspec.Struct, gc=False):
    """A prediction as it is written, in the order of its fields."""

    transaction_id: str
    user_id: str
    merchant_id: str
    amount: float
    currency: str
    merchant_category: str | None
    channel: str | None
    country: str | None
    type: str | None
    outcome: str | None
    is_repeat: bool
    rolling_avg_7d: float
    amount_to_avg_ratio: float
    prediction: int
    score: float | None
    threshold: float | None
    model_version: str | None
    arm: str
    model_is_confirmed: bool
    shadow_model_version: str | None
    shadow_score: float | None
    shadow_prediction: int | None
    anomaly_score: float | None
    review_sample: bool
    review_probability: float
    merchant_risk_table: str | None
    exchange_rate_table: str | None
    rate_missing: bool
    ignored_fields: tuple[str, ...]
    event_time: str
    ingest_time: str
    partition: int
    offset: int
    reasons: list[dict[str, Any]]
    features: msgspec.Struct  # _Features


PREDICTION_FIELDS: tuple[str, ...] = _Prediction.__struct_fields__
"""In the order in which they are written."""


@dataclass(frozen=True)
class Scored:
    """One model version's scores of a batch: (n,) float64 in [0, 1], flagged at or above ``threshold``."""

    version: str
    threshold: float
    scores: np.ndarray

    @cached_property
    def is_flagged(self) -> np.ndarray:
        return self.scores >= self.threshold


def top_reasons(values: np.ndarray, contributions: np.ndarray) -> list[list[dict[str, Any]]]:
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
    """What decides a batch of n rows, and what a person is to review.

    champion, challenger : None where there is none.
    is_challengers : (n,) bool; rows the challenger decides. The other model of a row is its shadow.
    review_share : of the rows that are not flagged, to be reviewed all the same.
    model_is_confirmed : the registry had confirmed that ``champion`` is the version in production.
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
    reasons: dict[int, list[dict[str, Any]]],
    merchant_risk_tables: Sequence[str | None],
    ignored: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
    repeats: Collection[int] = frozenset(),
    rates_used: RatesUsed | None = None,
) -> list[bytes]:
    """JSON bytes (prediction.schema.json) of each row, in order.

    transactions : (n, k) with transaction.COLUMNS. values : (n, len(FEATURES)) float64, finite.
    reasons : by row, for flagged rows. merchant_risk_tables : name of the table each row was looked up in. ignored : by
    row, as transaction.Decoded has it. repeats : rows whose transaction_id the user had sent before. rates_used : None
    where every payment is in the currency of the features.
    Where no model decides the score is null and the prediction 0.
    """
    ids = transactions["transaction_id"].to_list()
    deciding, shadow = _by_arm(decisions)
    score, threshold, version, _ = deciding
    shadow_score, _, shadow_version, shadow_flag = shadow
    rows = zip(
        ids,
        *(transactions[name].to_list() for name in ("user_id", "merchant_id")),
        to_major_units(transactions["amount_minor"].to_numpy(), minor_units_of(transactions["currency"])).tolist(),
        *(transactions[name].to_list() for name in _OF_THE_PAYMENT),
        (row in repeats for row in range(len(ids))),
        *(values[:, column].tolist() for column in (_AVERAGE, _RATIO)),
        decisions.is_flagged.astype(int).tolist(),
        score,
        threshold,
        version,
        np.where(decisions.is_challengers, "challenger", "champion").tolist(),
        repeat(decisions.model_is_confirmed, len(ids)),
        shadow_version,
        shadow_score,
        shadow_flag,
        [None] * len(ids) if decisions.anomaly is None else decisions.anomaly.scores.tolist(),
        *_reviews(ids, decisions),
        merchant_risk_tables,
        *(rates_used or RatesUsed([None] * len(ids), [False] * len(ids))),
        (ignored.get(row, ()) for row in range(len(ids))),
        _times(transactions["event_time_ms"]),
        _times(transactions["ingest_time_ms"]),
        transactions["partition"].to_list(),
        transactions["offset"].to_list(),
        (reasons.get(row, []) for row in range(len(ids))),
        _features(values),
        strict=True,
    )
    encode = msgspec.json.Encoder().encode
    return [encode(_Prediction(*row)) for row in rows]


def _by_arm(decisions: Decisions) -> tuple[list[list[Any]], list[list[Any]]]:
    """Columns (score, threshold, version, flag) of the model that decides each row, and of its shadow."""
    n = len(decisions.is_challengers)
    deciding, shadow = (_columns(scored, n) for scored in (decisions.champion, decisions.challenger))
    for row in np.flatnonzero(decisions.is_challengers).tolist():
        for of_deciding, of_shadow in zip(deciding, shadow, strict=True):
            of_deciding[row], of_shadow[row] = of_shadow[row], of_deciding[row]
    return deciding, shadow


def _columns(scored: Scored | None, n: int) -> list[list[Any]]:
    if scored is None:
        return [[None] * n for _ in range(4)]
    flags = scored.is_flagged.astype(int).tolist()
    return [scored.scores.tolist(), [scored.threshold] * n, [scored.version] * n, flags]


def _features(values: np.ndarray) -> Iterator[msgspec.Struct]:
    for first in range(0, len(values), _BLOCK):
        for row in values[first : first + _BLOCK].tolist():
            yield _Features(*row)


def _reviews(ids: list[str], decisions: Decisions) -> tuple[list[bool], list[float]]:
    """Whether a row that is not flagged is in the review sample, and how likely a row like it was to be looked at."""
    is_flagged = decisions.is_flagged
    is_strange = is_flagged & False if decisions.anomaly is None else decisions.anomaly.is_strange
    is_sampled = (is_strange | is_within(decisions.review_share, "review", ids)) & ~is_flagged
    return is_sampled.tolist(), np.where(is_flagged | is_strange, 1.0, decisions.review_share).tolist()


def _times(time_ms: pl.Series) -> list[str]:
    """RFC 3339 with milliseconds, UTC."""
    return pl.from_epoch(time_ms, "ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_list()
