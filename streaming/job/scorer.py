"""The scorer: a batch of records in, predictions and dead letters and new histories out.

The same records, offset ranges and serving give the same bytes, whether the store already holds this batch or not and
wherever micro-batches are cut (a cut changes nothing but which records come together). Nothing here knows Spark, Kafka
clients or the registry.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions, top_reasons
from fraud_core.decisions.shares import is_within
from fraud_core.features.exchange_rates import NO_RATES, ExchangeRates, RatesUsed
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FeatureBatch, compute_features, users_of
from fraud_core.payments.dead_letter import encode_dead_letter
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import Decoded, decode_transactions
from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.messages import opener
from fraud_io.schema_registry.predictions import to_avro
from streaming.job.batch_plan import BatchPlan
from streaming.models.merchant_risk_source import RiskTables
from streaming.models.model_cache import Models, ServedModel
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import OnlineStore

Record = tuple[bytes | None, bytes]  # key, value

SCHEMA = pa.schema(
    [
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True)
class Serving:
    """What decides a micro-batch."""

    models: Models
    tables: RiskTables
    rules: ReadingRules
    ab_share: float = 0.0
    review_share: float = 0.0
    prediction_schema: int | None = None
    exchange_rates: ExchangeRates = NO_RATES

    @classmethod
    def of(
        cls, plan: BatchPlan, models: Models, tables: RiskTables, exchange_rates: ExchangeRates, settings: Settings
    ) -> Self:
        """``models``, ``tables`` and ``exchange_rates``: those that ``plan`` names."""
        rules = plan.rules(opener(settings, frozenset(plan.schemas)))
        shares = plan.ab_share, plan.review_share
        return cls(models, tables, rules, *shares, plan.prediction_schema, exchange_rates)


@dataclass(frozen=True)
class Histories:
    """New histories of ``users`` (by partition), in their order."""

    users: dict[int, list[str]]
    blobs: list[bytes]


@dataclass(frozen=True)
class ScoredBatch:
    predictions: list[Record]
    dead_letters: list[Record]
    refused: Counter[str]  # how many, by kind of reason
    ignored: Counter[str]  # optional fields that could not be used, by field
    repeats: int  # predictions on a transaction_id that the user had sent before
    foreign_keys: int  # predictions on records whose key is not the user_id
    without_rate: Counter[str]  # payments without an exchange rate, by currency
    alerts: int
    ingest_time_ms: np.ndarray  # of each prediction
    histories: Histories


class Scorer:
    """Scores records of ``topic`` with the histories of ``store``, which it reads but does not write."""

    def __init__(self, store: OnlineStore, topic: str) -> None:
        self._store = store
        self._topic = topic

    def score(self, records: pa.Table, ranges: dict[int, OffsetRange], serving: Serving) -> ScoredBatch:
        """Score ``records`` (SCHEMA), which are all there are in ``ranges`` (by partition), in any order.

        Raises what OnlineStore.read raises.
        """
        records = in_arrival_order(records)
        decoded = decode(records, serving.rules)
        transactions = decoded.transactions
        batch, histories = self.features(transactions, ranges, serving.tables.risk, serving.exchange_rates)
        rates_used = serving.exchange_rates.used_for(transactions)
        repeats = np.flatnonzero(batch.is_repeat).tolist()
        values_json, alerts = decide(
            transactions, batch.values, serving, decoded.ignored, frozenset(repeats), rates_used
        )
        if serving.prediction_schema is not None:
            values_json = to_avro(values_json, serving.prediction_schema)
        keys = [user.encode() for user in transactions["user_id"].to_list()]
        return ScoredBatch(
            predictions=list(zip(keys, values_json, strict=True)),
            dead_letters=self._dead_letters(records, decoded),
            refused=Counter(refusal.kind for refusal in decoded.refusals),
            ignored=Counter(chain.from_iterable(decoded.ignored.values())),
            repeats=len(repeats),
            foreign_keys=_foreign_keys(records["key"].take(pa.array(decoded.accepted)), keys),
            without_rate=Counter(transactions["currency"].filter(pl.Series(rates_used.is_missing, dtype=pl.Boolean))),
            alerts=alerts,
            ingest_time_ms=transactions["ingest_time_ms"].to_numpy(),
            histories=histories,
        )

    def features(
        self,
        transactions: pl.DataFrame,
        ranges: dict[int, OffsetRange],
        risk: MerchantRisk,
        exchange_rates: ExchangeRates,
    ) -> tuple[FeatureBatch, Histories]:
        """Features of the rows, which are in arrival order, and the users' new histories."""
        users: dict[int, list[str]] = {}
        for partition, user in users_of(transactions):
            users.setdefault(partition, []).append(user)
        old = self._store.read(ranges, users)
        try:
            batch = compute_features(transactions, old, risk, exchange_rates)
        except ValueError as error:
            raise OperatorError(str(error)) from error
        return batch, Histories(users, batch.new_histories())

    def _dead_letters(self, records: pa.Table, decoded: Decoded) -> list[Record]:
        refused = records.take([refusal.index for refusal in decoded.refusals]).to_pylist() if decoded.refusals else []
        return [
            encode_dead_letter(
                self._topic,
                record["partition"],
                record["offset"],
                record["timestamp"],
                refusal.kind,
                refusal.reason,
                record["key"],
                record["value"],
            )
            for record, refusal in zip(refused, decoded.refusals, strict=True)
        ]


def decide(
    transactions: pl.DataFrame,
    values: np.ndarray,
    serving: Serving,
    ignored: Mapping[int, tuple[str, ...]],
    repeats: Collection[int],
    rates_used: RatesUsed,
) -> tuple[list[bytes], int]:
    """The predictions of the rows, encoded, and how many of them are alerts. ``values``: (n, len(FEATURES)) float64.

    ignored, repeats : as encode_predictions takes them.
    """
    models = serving.models
    # A card stays with one arm, whatever its payments: a person is treated alike, and arms are compared by card.
    share = serving.ab_share if models.challenger else 0.0
    decisions = Decisions(
        _scored(models.champion, values),
        _scored(models.challenger, values),
        is_within(share, "arm", transactions["user_id"].to_list()),
        serving.review_share,
        models.is_confirmed,
        _anomaly(models.champion, values),
    )
    is_flagged = decisions.is_flagged
    reasons = {
        **_reasons(models.champion, values, np.flatnonzero(is_flagged & ~decisions.is_challengers)),
        **_reasons(models.challenger, values, np.flatnonzero(is_flagged & decisions.is_challengers)),
    }
    tables = serving.tables.used_for(transactions["event_time_ms"].to_numpy())
    encoded = encode_predictions(transactions, values, decisions, reasons, tables, ignored, repeats, rates_used)
    return encoded, int(is_flagged.sum())


def in_arrival_order(records: pa.Table) -> pa.Table:
    """``records`` (SCHEMA) by partition and offset, with ``timestamp`` in int64 ms."""
    partition, offset = records["partition"].to_numpy(), records["offset"].to_numpy()
    order = np.lexsort((offset, partition))
    if not np.array_equal(order, np.arange(len(order))):
        records = records.take(order)
    time_ms = records["timestamp"].cast(pa.int64()).to_numpy() // 1000
    return records.set_column(records.schema.get_field_index("timestamp"), "timestamp", pa.array(time_ms))


def decode(records: pa.Table, rules: ReadingRules) -> Decoded:
    """Decode records that are in arrival order."""
    return decode_transactions(
        records["value"].to_numpy().tolist(),
        records["partition"].to_numpy(),
        records["offset"].to_numpy(),
        records["timestamp"].to_numpy(),
        rules,
    )


def _foreign_keys(given: pa.ChunkedArray, users: list[bytes]) -> int:
    """How many of the records' keys (n,) are not those of their users: none, or another one."""
    is_users = pc.equal(given, pa.array(users, given.type))
    return len(users) - pc.sum(is_users.fill_null(False)).as_py() if users else 0


def _scored(served: ServedModel | None, values: np.ndarray) -> Scored | None:
    if served is None:
        return None
    return Scored(served.version, served.model.card.threshold, served.model.score(values))


def _anomaly(served: ServedModel | None, values: np.ndarray) -> Anomaly | None:
    if served is None or served.model.anomaly is None:
        return None
    detector = served.model.anomaly
    return Anomaly(detector.score(values), detector.limit)


def _reasons(served: ServedModel | None, values: np.ndarray, flagged: np.ndarray) -> dict[int, list[dict]]:
    if served is None or len(flagged) == 0:
        return {}
    explained = values[flagged]
    return dict(zip(flagged.tolist(), top_reasons(explained, served.model.contributions(explained)), strict=True))
