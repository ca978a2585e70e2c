"""A share of ids is fixed, about as large as asked for, and independent of the other shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.decisions.shares import is_within

IDS = [f"id-{number}" for number in range(20_000)]


@given(st.lists(st.text(), max_size=20), st.floats(0, 1), st.randoms())
def test_an_id_is_in_or_out_whatever_comes_with_it_and_in_which_order(ids, share, random):
    shuffled = random.sample(ids, len(ids))
    together = dict(zip(shuffled, is_within(share, "arm", shuffled).tolist(), strict=True))
    assert [is_within(share, "arm", [id_]).tolist() for id_ in ids] == [[together[id_]] for id_ in ids]


@given(st.lists(st.text(), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_the_smaller_one(ids, one, other):
    smaller, larger = (is_within(share, "arm", ids) for share in sorted((one, other)))
    assert not (smaller & ~larger).any()


@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.5, 1.0])
def test_a_share_is_as_large_as_asked_for(share):
    found = is_within(share, "review", IDS).mean()
    assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / len(IDS)) + 1e-12


def test_two_purposes_draw_independently():
    both = is_within(0.5, "arm", IDS) & is_within(0.5, "review", IDS)
    assert abs(both.mean() - 0.25) < 0.02
