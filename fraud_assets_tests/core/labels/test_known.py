"""Labels: nothing is known before its time, the last word wins, silence becomes genuine after the label delay."""

import re

import orjson
import polars as pl
import pytest

from fraud_core.labels.known import LABEL_COLUMNS, decode_feedback, encode_feedback, label_transactions
from fraud_core.payments.times import EARLIEST_MS
from fraud_core.timestamps import DAY_MS, parse_rfc3339_ms

TRANSACTIONS = pl.DataFrame({"transaction_id": ["a", "b"], "event_time_ms": [EARLIEST_MS] * 2})
"""Times of these tests are counted from theirs."""


def labels(*rows: tuple[str, bool, int]) -> pl.DataFrame:
    messages = [encode_feedback(name, is_fraud, "analyst", EARLIEST_MS + time_ms) for name, is_fraud, time_ms in rows]
    decoded, refusals = decode_feedback(messages, [0] * len(rows), range(len(rows)))
    assert refusals == []
    return decoded


def known(frame: pl.DataFrame, as_of_ms: int) -> list[bool | None]:
    return label_transactions(TRANSACTIONS, frame, EARLIEST_MS + as_of_ms, label_delay_days=7).to_list()


def test_a_label_does_not_exist_before_its_label_time():
    chargeback = labels(("a", True, 3 * DAY_MS))
    assert known(chargeback, 3 * DAY_MS - 1) == [None, None]
    assert known(chargeback, 3 * DAY_MS) == [True, None]


def test_silence_is_unknown_until_the_label_delay_has_passed_and_genuine_after():
    nothing = pl.DataFrame(schema=LABEL_COLUMNS)
    assert known(nothing, 7 * DAY_MS - 1) == [None, None]
    assert known(nothing, 7 * DAY_MS) == [False, False]


def test_the_last_label_wins_and_of_two_at_one_time_the_later_arrival():
    corrected = labels(("a", True, DAY_MS), ("a", False, 2 * DAY_MS), ("b", False, DAY_MS), ("b", True, DAY_MS))
    assert known(corrected, DAY_MS) == [True, True]
    assert known(corrected, 2 * DAY_MS) == [False, True]


def test_malformed_feedback_is_refused_with_a_reason_and_the_rest_is_kept():
    good = encode_feedback("a", True, "chargeback", EARLIEST_MS)
    naive_time = b'{"transaction_id":"a","is_fraud":true,"source":"analyst","label_time":"2026-01-01T00:00:00"}'
    decoded, refusals = decode_feedback([b"{", None, b'{"is_fraud": 1}', naive_time, good], [0] * 5, range(5))
    assert decoded["offset"].to_list() == [4]
    assert [refusal.index for refusal in refusals] == [0, 1, 2, 3]
    assert all(refusal.reason for refusal in refusals)
    (no_day,) = decode_feedback([naive_time.replace(b"01-01T00:00:00", b"02-30T00:00:00Z")], [0], [0])[1]
    assert "label_time" in no_day.reason
    assert "day" in no_day.reason


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, ("a", True, "analyst")),
        ({"transaction_id": 4711}, ("4711", True, "analyst")),
        ({"is_fraud": 0}, ("a", False, "analyst")),
        ({"is_fraud": "TRUE"}, ("a", True, "analyst")),
        ({"source": "issuer report TC40"}, ("a", True, "issuer report TC40")),
        ({"label_time": 1769857200}, ("a", True, "analyst")),
        ({"label_time": "2026-01-31 12:00:00+0100"}, ("a", True, "analyst")),
    ],
)
def test_a_label_is_read_in_each_usual_spelling(changes, kept):
    message = {"transaction_id": "a", "is_fraud": True, "source": "analyst", "label_time": "2026-01-31T11:00:00Z"}
    decoded, refusals = decode_feedback([orjson.dumps(message | changes)], [0], [0])
    assert refusals == []
    assert decoded.row(0)[:4] == (*kept, parse_rfc3339_ms("2026-01-31T11:00:00Z"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_time": "0001-01-01T00:00:00Z"}, "label_time: .* before 1990"),
        ({"label_time": "9999-12-31T23:59:59-05:00"}, "label_time: .* outside the years"),
        ({"is_fraud": "perhaps"}, "is_fraud: 'perhaps' is neither true nor false"),
        ({"is_fraud": None, "source": ""}, "is_fraud: missing; source: missing"),
        ({"source": "x" * 65}, "source: .* has 65 characters"),
    ],
)
def test_a_label_that_cannot_be_used_is_refused_with_all_that_is_wrong(changes, reason):
    message = {"transaction_id": "a", "is_fraud": True, "source": "analyst", "label_time": "2026-01-31T11:00:00Z"}
    (refusal,) = decode_feedback([orjson.dumps(message | changes)], [0], [0])[1]
    assert re.search(reason, refusal.reason)
