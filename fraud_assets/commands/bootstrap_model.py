"""``python -m fraud_assets.commands.bootstrap_model --seed N``: a small real model in Production within seconds.

For stacks that need a model at once, without a history: chaos runs. It is trained on simulated payments whose truth is
known without waiting for labels, so it says nothing about how good the trained ones are; those come from the assets.
"""

import argparse

import numpy as np
import polars as pl
import xgboost as xgb

from fraud_assets.registry import Registry
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import decode_transactions, encode_transaction
from fraud_core.settings import Settings
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_io.mlflow_client import fail_fast

_CUSTOMERS = 300
_FIRST_DAY, _DAYS = 20_000, 20
_TREES = {"max_depth": 4, "eta": 0.2, "objective": "binary:logistic", "nthread": 1}


def train(seed: int) -> FraudModel:
    """Fitted on all simulated rows; the threshold flags as many of them as there are frauds."""
    simulator = Simulator(_CUSTOMERS, seed)
    days = [simulator.day(day) for day in range(_FIRST_DAY, _FIRST_DAY + _DAYS)]
    rows = pl.concat([day.transactions for day in days])
    n = len(rows)
    arrived = decode_transactions(
        [encode_transaction(row) for row in rows.iter_rows(named=True)],
        [0] * n,
        range(n),
        rows["event_time_ms"].to_list(),
        ReadingRules(0),
    ).transactions
    values = compute_features(arrived, None, MerchantRisk.empty(), NO_RATES).values
    is_fraud = np.concatenate([day.is_fraud for day in days])
    data = xgb.DMatrix(values.astype(np.float32), is_fraud, feature_names=list(FEATURES))
    booster = xgb.train({**_TREES, "seed": seed}, data, 60)
    window = (_FIRST_DAY * DAY_MS, (_FIRST_DAY + _DAYS) * DAY_MS)
    scores = booster.predict(data)
    base_rate = float(is_fraud.mean())
    return FraudModel(booster, ModelCard(float(np.quantile(scores, 1 - base_rate)), base_rate, window))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fraud_assets.commands.bootstrap_model", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    seed = parser.parse_args().seed
    settings = Settings()
    model = StoredModel.of(train(seed))

    import mlflow

    fail_fast()
    mlflow.set_tracking_uri(settings.mlflow_address)
    mlflow.set_experiment(settings.experiment_name)
    registry = Registry(settings, "simulated_model")
    with mlflow.start_run(run_name=f"simulated model, seed {seed}") as run:
        version = registry.register(model, run.info.run_id, {"simulated_seed": str(seed)})
    registry.move(version, "Production", f"simulated model of seed {seed}, asked for by command")
    print(version)


if __name__ == "__main__":
    main()
