import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.model.digests import CARD, TREES, digests, require_digests

values = st.recursive(
    st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=8,
)
cards = st.dictionaries(st.text(), values, max_size=5)


def test_the_digest_of_the_trees_is_what_sha256sum_prints_of_the_file():
    assert digests(b"trees", {})[TREES] == hashlib.sha256(b"trees").hexdigest()


@given(st.binary(), cards)
def test_a_model_is_what_it_was_after_any_way_through_json(ubj, card):
    again = json.loads(json.dumps(dict(reversed(card.items()))))
    require_digests(ubj, again, digests(ubj, card))


@given(st.binary(), st.binary(), cards, cards)
def test_other_trees_or_another_card_are_refused_by_name(ubj, other_ubj, card, other_card):
    registered = digests(ubj, card)
    if other_ubj != ubj:
        with pytest.raises(ValueError, match=f"{TREES} differs"):
            require_digests(other_ubj, card, registered)
    if digests(b"", other_card) != digests(b"", card):
        with pytest.raises(ValueError, match=f"{CARD} differs"):
            require_digests(ubj, other_card, registered)


def test_a_version_that_names_no_digest_is_refused():
    with pytest.raises(ValueError, match="names no sha256_card of it"):
        require_digests(b"", {}, {TREES: digests(b"", {})[TREES]})
