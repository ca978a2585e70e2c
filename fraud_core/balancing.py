"""Few frauds among many genuine rows: SMOTE, and the smaller sample the search works on.

Synthetic frauds are made from training rows only and are never scored, thresholded or reported on: they exist inside a
training fold, or in the balanced set that the final model is fitted on.

SMOTE interpolates between a fraud and one of its nearest frauds. Distances are taken on standardised features, because
an amount in the thousands would otherwise decide alone who is near. A count or a flag comes out fractional.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from imblearn.over_sampling import SMOTE
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5

NEGATIVE_FRACTION = 0.1
# Below this many genuine rows the average precision of a fold gets too noisy to tell two candidates apart.
MIN_NEGATIVES = 20_000


@dataclass(frozen=True)
class FraudTarget:
    """How many frauds SMOTE shall bring a class up to: ``ratio`` per genuine transaction, 0 leaves them as they are.

    genuine_weight : genuine transactions that one genuine row stands for (1 unless they were under-sampled).
    Called by imblearn as ``sampling_strategy`` with the labels of the rows, 1 for fraud.
    """

    ratio: float
    genuine_weight: float = 1.0

    def __call__(self, y: np.ndarray) -> dict[int, int]:
        frauds = np.count_nonzero(y)
        genuine = (len(y) - frauds) * self.genuine_weight
        return {1: max(frauds, round(self.ratio * genuine))}


def smote(target: FraudTarget, seed: int) -> SMOTE:
    """Wants standardised features, and more than NEIGHBOURS frauds when the target is more than there are."""
    return SMOTE(sampling_strategy=target, k_neighbors=NEIGHBOURS, random_state=seed)


def balance(train: pl.DataFrame, features: Sequence[str], ratio: float, seed: int) -> pl.DataFrame:
    """All real training rows, in their order, then the synthetic frauds.

    train : rows of the training period only; transaction_id, event_time_ms, is_fraud Boolean, and finite features.
    ratio : frauds per genuine transaction afterwards. 0, or a ratio the rows already have, adds nothing.
    Returns transaction_id, event_time_ms (both null for a synthetic row), is_fraud, is_synthetic, then the features.
    ValueError when there are too few frauds to interpolate between.
    """
    real = train.select("transaction_id", "event_time_ms", "is_fraud", pl.lit(False).alias("is_synthetic"), *features)
    is_fraud = real["is_fraud"].to_numpy()
    frauds = np.count_nonzero(is_fraud)
    target = FraudTarget(ratio)
    if target(is_fraud) == {1: frauds}:
        return real
    if frauds <= NEIGHBOURS:
        raise ValueError(
            f"SMOTE needs more than {NEIGHBOURS} frauds to interpolate between, the training period has {frauds}: "
            "bring more history, or train without SMOTE (ratio 0)."
        )
    scaler = StandardScaler()
    scaled = scaler.fit_transform(real.select(features).cast(pl.Float64).to_numpy())
    resampled, _ = smote(target, seed).fit_resample(scaled, is_fraud)
    synthetic = pl.DataFrame(scaler.inverse_transform(resampled[real.height :]), schema=list(features))
    marked = synthetic.select(
        pl.lit(None).alias("transaction_id"),
        pl.lit(None).alias("event_time_ms"),
        pl.lit(True).alias("is_fraud"),
        pl.lit(True).alias("is_synthetic"),
        *features,
    )
    return pl.concat([real, marked.cast(real.schema)])


def ratio_of(balanced: pl.DataFrame) -> float:
    """The SMOTE ratio of a balanced set, 0 when it holds no synthetic row."""
    if not balanced["is_synthetic"].any():
        return 0.0
    frauds = int(balanced["is_fraud"].sum())
    return frauds / (balanced.height - frauds)


@dataclass(frozen=True)
class SearchSample:
    """All frauds and some of the genuine rows, in the order of the training rows.

    genuine_weight : genuine transactions that each genuine row of ``rows`` stands for.
    """

    rows: pl.DataFrame
    genuine_weight: float


def search_sample(
    train: pl.DataFrame, seed: int, fraction: float = NEGATIVE_FRACTION, at_least: int = MIN_NEGATIVES
) -> SearchSample:
    """Keep every fraud and a random ``fraction`` of the genuine rows, but no fewer than ``at_least``.

    The cost lies in the genuine rows, but what tells candidates apart are the frauds, and all of them are kept.
    """
    genuine = np.flatnonzero(~train["is_fraud"].to_numpy())
    kept = min(len(genuine), max(at_least, round(fraction * len(genuine))))
    chosen = np.random.default_rng(seed).choice(genuine, size=kept, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(train["is_fraud"].to_numpy()), chosen]))
    return SearchSample(train[rows], len(genuine) / kept)
