"""Pairs of what was served, from the bytes that the stream writes."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.decisions.prediction import Decisions, Scored, encode_predictions
from fraud_core.decisions.prediction_table import decode_predictions
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.promotion.shadow import COMPARED_DAYS, matured, served_pairs
from fraud_core.timestamps import DAY_MS

N = 6
share = st.floats(0, 1)
ROWS = pl.DataFrame(
    {
        "transaction_id": [f"t{i}" for i in range(N)],
        "user_id": [f"u{i % 2}" for i in range(N)],
        "merchant_id": ["m"] * N,
        "currency": ["EUR"] * N,
        **{name: [None] * N for name in ("merchant_category", "channel", "country", "type", "outcome")},
        "event_time_ms": [i * DAY_MS for i in range(N)],
        "ingest_time_ms": [i * DAY_MS for i in range(N)],
        "partition": [0] * N,
        "offset": list(range(N)),
        "amount_minor": [1234] * N,
    }
)
VALUES = np.full((N, len(FEATURES)), 12.34)


def served(champion: Scored | None, challenger: Scored | None, arms: np.ndarray) -> pl.DataFrame:
    decisions = Decisions(champion, challenger, arms, 0.0, model_is_confirmed=True)
    return decode_predictions(encode_predictions(ROWS, VALUES, decisions, {}, [None] * N))


@given(*(st.lists(share, min_size=N, max_size=N) for _ in range(2)), st.lists(st.booleans(), min_size=N, max_size=N))
def test_whoever_decided_each_model_keeps_what_it_said(first, second, arms):
    one, two = Scored("1", 0.3, np.array(first)), Scored("2", 0.6, np.array(second))
    by_arm = np.array(arms)
    pairs = served_pairs(served(one, two, by_arm), "1", "2", "EUR")
    assert pairs["champion_score"].to_list() == first
    assert pairs["challenger_score"].to_list() == second
    assert pairs["champion_flagged"].to_list() == one.is_flagged.tolist()
    assert pairs["challenger_flagged"].to_list() == two.is_flagged.tolist()
    assert pairs["arm"].to_list() == ["challenger" if arm else "champion" for arm in arms]
    assert pairs["value_minor"].to_list() == [1234] * N
    # The same payments, had the two changed places since.
    swapped = served_pairs(served(one, two, by_arm), "2", "1", "EUR")
    assert swapped["champion_score"].to_list() == second
    assert swapped["arm"].to_list() == ["champion" if arm else "challenger" for arm in arms]


def test_payments_that_one_of_them_did_not_score_are_no_pairs():
    one, three = (Scored(version, 0.5, np.full(N, 0.5)) for version in "13")
    nobody = np.zeros(N, bool)
    for others in (served(one, None, nobody), served(one, three, nobody), served(None, None, nobody)):
        assert served_pairs(others, "1", "2", "EUR").is_empty()


def test_a_payment_matures_when_its_label_delay_has_passed_whatever_is_known_earlier():
    labels = pl.DataFrame(
        [("t1", True, "analyst", DAY_MS, 0, 0), ("t5", True, "analyst", 5 * DAY_MS, 0, 1)],
        schema=LABEL_COLUMNS,
        orient="row",
    )
    old = matured(ROWS, labels, 9 * DAY_MS, 7)
    assert old.select("transaction_id", "is_fraud").rows() == [("t0", False), ("t1", True), ("t2", False)]
    assert matured(ROWS, labels, (COMPARED_DAYS + 9) * DAY_MS, 7)["transaction_id"].to_list() == [
        "t2",
        "t3",
        "t4",
        "t5",
    ]
