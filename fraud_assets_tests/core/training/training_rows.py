"""Training rows with a fraud pattern that trees can learn, for tests of balancing and tuning."""

import numpy as np
import polars as pl

from fraud_core.timestamps import DAY_MS

NAMES = ("amount", "count", "risk", "noise")


def training_rows(rows: int, days: int = 30, fraud_rate: float = 0.03, seed: int = 0) -> pl.DataFrame:
    """transaction_id, event_time_ms (in order), is_fraud, and the features of NAMES as Float32."""
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(rows) < fraud_rate
    features = {
        "amount": rng.lognormal(np.where(is_fraud, 5, 3), 1.0),
        "count": rng.poisson(np.where(is_fraud, 3, 1)),
        "risk": rng.beta(np.where(is_fraud, 2, 1), 8),
        "noise": rng.normal(size=rows),
    }
    return pl.DataFrame(
        {
            "transaction_id": [f"t{row}" for row in range(rows)],
            "event_time_ms": np.sort(rng.integers(days * DAY_MS, size=rows)),
            "is_fraud": is_fraud,
            **features,
        },
        schema_overrides=dict.fromkeys(NAMES, pl.Float32),
    )
