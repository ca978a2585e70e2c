"""Few frauds among many genuine rows: SMOTE, and the smaller sample the search works on.

Synthetic frauds are made from training rows only and never used to score, to choose a threshold or to report: they
exist inside a training fold, or in the balanced set that the final model is fitted on.

SMOTE interpolates between a fraud and one of its nearest neighbours among the frauds. Distances are measured on
standardised features: otherwise amounts in the thousands would outweigh all else. Counts and flags come out fractional.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from imblearn.over_sampling import SMOTE
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5

# Fitting is expensive and scoring is cheap, and with few genuine rows a fold's average precision is too noisy to
# separate two candidates. So a fold validates on all genuine rows of the sample and trains on every n-th of them.
NEGATIVE_FRACTION = 0.2
MIN_NEGATIVES = 60_000
MAX_FITTED_EVERY = 8
MIN_FITTED = 20_000


def synthetic_frauds(values: np.ndarray, is_fraud: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` synthetic frauds, (count, k) float32, interpolated between the frauds of ``values``.

    values (n, k), finite; is_fraud (n,) bool. ValueError unless there are more than NEIGHBOURS frauds.
    """
    if count == 0:
        return np.empty((0, values.shape[1]), np.float32)
    frauds = np.count_nonzero(is_fraud)
    if frauds <= NEIGHBOURS:
        raise ValueError(
            f"SMOTE needs more than {NEIGHBOURS} frauds to interpolate between, the training period has {frauds}: "
            "bring more history, or train without SMOTE (ratio 0)."
        )
    scaler = StandardScaler().fit(values)
    # SMOTE reads only the minority class; the zero rows stand in for the majority, so that frauds are the minority.
    others = np.zeros((frauds + count, values.shape[1]))
    rows = np.concatenate([scaler.transform(values[is_fraud]), others])
    smote = SMOTE(sampling_strategy={1: frauds + count}, k_neighbors=NEIGHBOURS, random_state=seed)
    resampled, _ = smote.fit_resample(rows, np.arange(len(rows)) < frauds)
    made: np.ndarray = scaler.inverse_transform(resampled[len(rows) :]).astype(np.float32)
    return made


def frauds_to_add(frauds: int, genuine: float, ratio: float) -> float:
    """How many synthetic frauds reach ``ratio`` frauds per genuine transaction; never negative."""
    return max(0.0, ratio * genuine - frauds)


def balance(train: pl.DataFrame, features: Sequence[str], ratio: float, seed: int) -> pl.DataFrame:
    """All real training rows in their original order, then the synthetic frauds.

    train : rows of the training period only: transaction_id, event_time_ms, is_fraud Boolean, and finite features.
    ratio : frauds per genuine transaction in the result. One that the rows already reach, such as 0, adds nothing.
    Returns transaction_id, event_time_ms (both null for a synthetic row), is_fraud, is_synthetic, then the features.
    ValueError as in ``synthetic_frauds``.
    """
    real = train.select("transaction_id", "event_time_ms", "is_fraud", pl.lit(False).alias("is_synthetic"), *features)
    is_fraud = real["is_fraud"].to_numpy()
    frauds = int(np.count_nonzero(is_fraud))
    missing = round(frauds_to_add(frauds, len(is_fraud) - frauds, ratio))
    made = synthetic_frauds(real.select(features).to_numpy(), is_fraud, missing, seed)
    marked = pl.DataFrame(made, schema=list(features)).select(
        pl.lit(None).alias("transaction_id"),
        pl.lit(None).alias("event_time_ms"),
        pl.lit(True).alias("is_fraud"),
        pl.lit(True).alias("is_synthetic"),
        *features,
    )
    return pl.concat([real, marked.cast(real.schema)])


def ratio_of(balanced: pl.DataFrame) -> float:
    """Frauds per genuine transaction in a balanced set; 0 when it holds no synthetic row."""
    if not balanced["is_synthetic"].any():
        return 0.0
    frauds = int(balanced["is_fraud"].sum())
    return frauds / (balanced.height - frauds)


@dataclass(frozen=True)
class SearchSample:
    """All frauds and some of the genuine rows, in the order of the training rows.

    genuine_weight : how many genuine transactions each genuine row of ``rows`` represents.
    fitted_every : candidates are fitted on every ``fitted_every``-th genuine row.
    """

    rows: pl.DataFrame
    genuine_weight: float
    fitted_every: int


def search_sample(
    train: pl.DataFrame, seed: int, fraction: float = NEGATIVE_FRACTION, at_least: int = MIN_NEGATIVES
) -> SearchSample:
    """Every fraud and a random ``fraction`` of the genuine rows, at least ``at_least`` of them.

    Frauds separate the candidates, so all are kept; genuine rows cost the time.
    """
    genuine = np.flatnonzero(~train["is_fraud"].to_numpy())
    kept = min(len(genuine), max(at_least, round(fraction * len(genuine))))
    chosen = np.random.default_rng(seed).choice(genuine, size=kept, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(train["is_fraud"].to_numpy()), chosen]))
    fitted_every = min(MAX_FITTED_EVERY, max(1, kept // MIN_FITTED))
    return SearchSample(train[rows], len(genuine) / kept, fitted_every)
