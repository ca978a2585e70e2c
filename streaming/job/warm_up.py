"""Runs every code path of a micro-batch once, before the first real one has to pay for compiling and loading."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from fraud_core.decisions.prediction import Decisions, Scored, encode_predictions
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES, compute_features, users_of
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import encode_transaction
from streaming.job.scorer import SCHEMA, decode, in_arrival_order


def warm_up() -> None:
    """Decode, compute features (compiled by numba on first use, cached on disk) and encode, from records to bytes."""
    now = datetime.now(UTC)
    message = {
        "transaction_id": "warm-up",
        "user_id": "warm-up",
        "merchant_id": "warm-up",
        "amount": 1.0,
        "currency": "EUR",
        "event_time_ms": int(now.timestamp() * 1000),
    }
    columns = [[b"warm-up"] * 2, [encode_transaction(message)] * 2, [0, 0], [0, 1], [now] * 2]
    records = in_arrival_order(pa.table(columns, schema=SCHEMA))
    transactions = decode(records, ReadingRules(60_000)).transactions
    batch = compute_features(transactions, [None] * len(users_of(transactions)), MerchantRisk.empty(), NO_RATES)
    compute_features(transactions, batch.new_histories(), MerchantRisk.empty(), NO_RATES)
    scored, nothing = Scored("0", 0.5, np.zeros(2)), np.zeros(2, dtype=bool)
    assert batch.values.shape == (2, len(FEATURES))
    decisions = Decisions(scored, None, nothing, review_share=0.0, model_is_confirmed=True)
    encode_predictions(transactions, batch.values, decisions, {}, [None, None])
