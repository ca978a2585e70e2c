"""Simulated analysts look into alerts and the review sample, and into nothing else."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import streams
from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions
from fraud_core.features.table import FEATURES
from streaming.commands.analysts import is_looked_into

pytestmark = pytest.mark.streaming


@given(streams(max_size=6), st.data(), st.sampled_from([0.0, 0.5, 1.0]))
def test_analysts_look_into_alerts_and_the_review_sample_and_nothing_else(transactions, data, share):
    n = len(transactions)
    champion, challenger = (
        Scored(version, 0.5, np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))) for version in "12"
    )
    strangeness = Anomaly(np.array(data.draw(st.lists(st.floats(0.1, 0.9), min_size=n, max_size=n))), 0.8)
    decisions = Decisions(champion, challenger, np.zeros(n, dtype=bool), share, True, strangeness)
    for message in encode_predictions(transactions, np.zeros((n, len(FEATURES))), decisions, {}, [None] * n):
        prediction = orjson.loads(message)
        assert is_looked_into(message) is (prediction["prediction"] == 1 or prediction["review_sample"])
