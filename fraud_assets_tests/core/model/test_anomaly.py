"""The anomaly detector is the forest that was grown, gives a row the same bits in any batch, keeps to its budget."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from fraud_assets_tests.core.streams import cuts
from fraud_core.features.table import FEATURES
from fraud_core.model.anomaly import (
    _COLUMNS,
    ABOVE_ALL,
    SAMPLES,
    TREES,
    AnomalyDetector,
    _squeezed,
    fit_anomaly_detector,
)

rng = np.random.default_rng(1)
VALUES = rng.lognormal(2.0, 1.5, (4000, len(FEATURES))).astype(np.float32)


def rows(values: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(dict(zip(FEATURES, values.T, strict=True))).with_columns(event_time_ms=pl.int_range(pl.len()))


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    return fit_anomaly_detector(rows(VALUES), 0.01, seed=3)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_row_has_the_same_score_in_whatever_batch_it_comes(detector, data):
    n = data.draw(st.integers(1, 700))
    batch = VALUES[:n].astype(np.float64)
    bounds = data.draw(cuts(n))
    parts = [detector.score(batch[begin:end]) for begin, end in itertools.pairwise(bounds)]
    assert np.concatenate(parts).tolist() == detector.score(batch).tolist()


def test_what_a_model_carries_is_the_detector_to_the_bit(detector):
    carried = AnomalyDetector.from_text(detector.to_text())
    assert carried.score(VALUES).tolist() == detector.score(VALUES).tolist()
    assert carried.limit == detector.limit


def test_it_orders_rows_as_the_forest_that_was_grown(detector):
    grown = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=3)
    grown.fit(_squeezed(VALUES[:3000, _COLUMNS]))
    score = detector.score(VALUES)
    usual = 2.0 ** -(1 / score - 1)
    assert np.abs(usual + grown.score_samples(_squeezed(VALUES[:, _COLUMNS]))).max() < 1e-6


def test_the_limit_is_what_the_share_of_the_newest_rows_reaches(detector):
    assert (detector.score(VALUES[3000:]) >= detector.limit).sum() == 10
    assert fit_anomaly_detector(rows(VALUES), 0.0, seed=3).limit == ABOVE_ALL


def test_a_row_unlike_all_others_is_stranger_than_nearly_all_of_them(detector):
    strange = np.full((1, len(FEATURES)), 1e6)
    assert detector.score(strange)[0] > np.quantile(detector.score(VALUES), 0.99)


def test_merchant_risk_does_not_make_strange(detector):
    risky = VALUES[:50].copy()
    risky[:, [FEATURES.index("merchant_fraud_rate_7d"), FEATURES.index("day_of_week")]] = 1e9
    assert detector.score(risky).tolist() == detector.score(VALUES[:50]).tolist()


def test_no_rows_have_no_scores(detector):
    assert detector.score(np.empty((0, len(FEATURES)))).shape == (0,)
