"""What a chaos run ends with: the ledger, features against a clean recomputation, and each message's fate."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import orjson

from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES, FeatureBatch, compute_features
from fraud_core.payments.transaction import decode_transactions
from fraud_core.settings import Settings
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.kafka.reader import TopicReader
from fraud_io.schema_registry.messages import reading_rules
from fraud_io.schema_registry.predictions import as_json
from fraud_stack.chaos.load import Load
from fraud_stack.ledger import Ledger, take_ledger


@dataclass(frozen=True)
class ChaosVerdict:
    """features_differing : served predictions of which a feature is not, bit for bit, that of a clean run, or that say
    otherwise whether the payment was sent again.
    misjudged : messages that must be refused and were decided, or the other way round.
    without_reason : dead letters that do not say why."""

    ledger: Ledger
    features_differing: int
    refused: int
    misjudged: int
    without_reason: int

    @property
    def is_good(self) -> bool:
        """Decisions repeated after a crash are allowed with the same bytes: delivery is at least once."""
        return self.ledger.is_balanced and self.features_differing == self.misjudged == self.without_reason == 0


def reach_verdict(settings: Settings, load: Load) -> ChaosVerdict:
    """Once everything is decided, or nothing more comes. Call it when the load is finished."""
    ledger = take_ledger(settings)
    letters, without_reason = set(), 0
    for record in TopicReader(settings).read(settings.topics.dead_letter):
        letter = orjson.loads(record.value() or b"")
        letters.add((letter["partition"], letter["offset"]))
        without_reason += not letter["reason"]
    must, may = load.positions["refused"], load.positions["either"]
    return ChaosVerdict(
        ledger, features_differing(settings), len(letters), len(must - letters | letters - must - may), without_reason
    )


def features_differing(settings: Settings) -> int:
    """Predictions whose features are not those of training's call over the whole topic.

    No merchant risk table is made in a chaos run, so the recomputation uses none. Memory: the features of all
    transactions; predictions are read one at a time.
    """
    expected = _recomputed(settings)
    differing, read = 0, as_json(settings)
    for record in TopicReader(settings).read(settings.topics.predictions):
        served = orjson.loads(read(record.value()))
        batch, row_of = expected[served["partition"]]
        row = row_of[served["offset"]]
        is_same = np.array_equal([served["features"][name] for name in FEATURES], batch.values[row])
        differing += not is_same or served["is_repeat"] != bool(batch.is_repeat[row])
    return differing


def _recomputed(settings: Settings) -> dict[int, tuple[FeatureBatch, dict[int, int]]]:
    """By partition: features of all its transactions, and the row of each offset."""
    columns: dict[int, tuple[list[bytes | None], list[int], list[int]]] = defaultdict(lambda: ([], [], []))
    for record in TopicReader(settings).read(settings.topics.transactions):
        values, offsets, times_ms = columns[record.partition()]
        values.append(record.value())
        offsets.append(record.offset())
        times_ms.append(record.timestamp()[1])
    rates = ExchangeRateLog(settings.lake).rates(settings.currency)
    found = {}
    for partition, (values, offsets, times_ms) in columns.items():
        arrived = decode_transactions(
            values,
            [partition] * len(values),
            offsets,
            times_ms,
            reading_rules(settings),
        ).transactions
        features = compute_features(arrived, None, MerchantRisk.empty(), rates)
        found[partition] = features, {offset: row for row, offset in enumerate(arrived["offset"].to_list())}
    return found
