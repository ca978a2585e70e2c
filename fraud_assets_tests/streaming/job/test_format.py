"""The bytes of a decision belong to the checkpoint's format: who changes them raises start_check.FORMAT."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions, top_reasons
from fraud_core.features.exchange_rates import ExchangeRates, RateTable
from fraud_core.features.merchant_risk import MERCHANT_FEATURES, MerchantRisk
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.payments.dead_letter import encode_dead_letter
from fraud_core.payments.transaction import COLUMNS
from fraud_core.timestamps import HOUR_MS
from streaming.job.batch_plan import BatchPlan
from streaming.job.start_check import FORMAT

START_MS = 1_767_225_600_000  # 2026-01-01
LINES = Path(__file__).parent / f"bytes_of_format_{FORMAT}.jsonl"


def payments() -> pl.DataFrame:
    """Three of one card. Without places: a distance may differ in its last bit between processors."""
    rows = {
        "partition": [2] * 3,
        "offset": [7, 8, 9],
        "transaction_id": ["t-1", 't"2', "t-3"],
        "user_id": ["u-1"] * 3,
        "merchant_id": ["m-1", "m-2", "m-1"],
        "merchant_category": [None, "5411", None],
        "amount_minor": [1234, 5, 1_000_000],
        "currency": ["EUR", "JPY", "KWD"],
        "event_time_ms": [START_MS, START_MS + HOUR_MS + 1, START_MS + 2 * HOUR_MS],
        "channel": ["chip", "online", None],
        "country": ["DE", None, "FR"],
        "device_id": [None, "d-1", "d-1"],
        "type": [None, "purchase", "refund"],
        "outcome": ["approved", "declined", None],
    }
    times = [START_MS + at * HOUR_MS + 17 for at in range(3)]
    return pl.DataFrame(dict.fromkeys(COLUMNS, [None] * 3) | rows | {"ingest_time_ms": times}, schema=COLUMNS)


def written() -> list[str]:
    rows = payments()
    risk = MerchantRisk({START_MS: ({"m-1": 0}, np.arange(1.0, 1 + len(MERCHANT_FEATURES)).reshape(1, -1))})
    rates = ExchangeRates([RateTable("2025-12-31", START_MS, {"JPY": 170.25})], "EUR")
    values = compute_features(rows, [None], risk, rates).values
    champion, challenger = Scored("3", 0.25, np.array([0.1, 0.7, 0.25])), Scored("4", 0.5, np.array([0.2, 1e-9, 0.9]))
    arms, anomaly = np.array([False, False, True]), Anomaly(np.array([0.3, 0.4, 0.9]), 0.5)
    decisions = Decisions(champion, challenger, arms, 0.005, model_is_confirmed=True, anomaly=anomaly)
    contributions = np.linspace(1, -1, len(FEATURES))[np.newaxis]
    reasons = {row: top_reasons(values[row : row + 1], contributions)[0] for row in (1, 2)}
    predictions = encode_predictions(
        rows,
        values,
        decisions,
        reasons,
        [None, "1-a.parquet", "1-a.parquet"],
        {2: ("channel", "latitude")},
        {1},
        rates.used_for(rows),
    )
    _, dead_letter = encode_dead_letter("transactions", 2, 6, START_MS, "not JSON", "not JSON: x", b"u-1", b"\xff{")
    plan = BatchPlan(
        "3",
        "4",
        True,
        ("1-a.parquet",),
        300_000,
        0.1,
        0.005,
        "Europe/Berlin",
        exchange_rates=rates.newest,
        currency="EUR",
    )
    return [*(line.decode() for line in [*predictions, dead_letter]), json.dumps(asdict(plan))]


def test_a_decision_a_dead_letter_and_a_plan_have_the_bytes_of_the_format():
    """To change them: raise FORMAT, say in docs/operations.md what it has, and write ``written()`` to the new file."""
    assert written() == LINES.read_text().splitlines()
