"""Labels: nothing is known before its time, the last word wins, silence becomes genuine after the label delay."""

import polars as pl

from fraud_core.labels.known import LABEL_COLUMNS, decode_feedback, encode_feedback, label_transactions
from fraud_core.timestamps import DAY_MS

TRANSACTIONS = pl.DataFrame({"transaction_id": ["a", "b"], "event_time_ms": [0, 0]})


def labels(*rows: tuple[str, bool, int]) -> pl.DataFrame:
    messages = [encode_feedback(name, is_fraud, "analyst", time_ms) for name, is_fraud, time_ms in rows]
    decoded, refusals = decode_feedback(messages, [0] * len(rows), range(len(rows)))
    assert refusals == []
    return decoded


def known(frame: pl.DataFrame, as_of_ms: int) -> list[bool | None]:
    return label_transactions(TRANSACTIONS, frame, as_of_ms, label_delay_days=7).to_list()


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
    good = encode_feedback("a", True, "chargeback", 0)
    naive_time = b'{"transaction_id":"a","is_fraud":true,"source":"analyst","label_time":"2026-01-01T00:00:00"}'
    decoded, refusals = decode_feedback([b"{", None, b'{"is_fraud": 1}', naive_time, good], [0] * 5, range(5))
    assert decoded["offset"].to_list() == [4]
    assert [refusal.index for refusal in refusals] == [0, 1, 2, 3]
    assert all(refusal.reason for refusal in refusals)
    (no_day,) = decode_feedback([naive_time.replace(b"01-01T00:00:00", b"02-30T00:00:00Z")], [0], [0])[1]
    assert no_day.reason == "label_time: day is out of range for month"
