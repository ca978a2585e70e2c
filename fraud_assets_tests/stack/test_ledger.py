"""What the ledger counts, entered by hand: positions, not ids; values, not headers."""

import orjson
import pytest

from fraud_core.timestamps import format_rfc3339_ms
from fraud_stack.ledger import Books, LostRange, lines

RANGES = {0: (100, 110), 3: (0, 5)}


def prediction(partition: int, offset: int, name: str | None = None, score: float = 0.5) -> bytes:
    fields = {"partition": partition, "offset": offset, "score": score, "ingest_time": format_rfc3339_ms(1000)}
    return orjson.dumps({"transaction_id": name or f"{partition}-{offset}", **fields})


def letter(partition: int, offset: int) -> bytes:
    return orjson.dumps({"partition": partition, "offset": offset})


@pytest.fixture
def books() -> Books:
    """Each position holds a record; all but those of partition 0 from 105 on are decided, 50 ms later."""
    books = Books(RANGES)
    for partition, (start, end) in RANGES.items():
        for offset in range(start, end):
            books.add_transaction(partition, offset)
            if offset < 105:
                books.add_prediction(prediction(partition, offset), 1050)
    return books


def test_what_has_neither_prediction_nor_dead_letter_is_lost_and_its_positions_are_named(books):
    books.add_dead_letter(letter(0, 107))
    assert books.lost == 4
    ledger = books.close(labels=2)
    assert (ledger.produced, ledger.predicted, ledger.dead_lettered, ledger.labels) == (15, 10, 1, 2)
    assert ledger.lost_positions == (LostRange(0, 105, 106), LostRange(0, 108, 109))
    assert not ledger.is_balanced


def test_a_repeat_with_the_same_bytes_is_counted_and_balanced(books):
    for offset in range(105, 110):
        books.add_dead_letter(letter(0, offset))
    for _ in range(2):
        books.add_prediction(prediction(3, 1), 9000)
    books.add_dead_letter(letter(0, 106))
    ledger = books.close(labels=0)
    assert (ledger.duplicates, ledger.duplicates_same, ledger.duplicates_differing) == (2, 2, 0)
    assert ledger.is_balanced
    assert ledger.latency_ms == {"p50": 50, "p95": 50, "p99": 50, "max": 50}


@pytest.mark.parametrize("second", ["another score", "a dead letter", "another score, then the first again"])
def test_a_repeat_with_other_bytes_is_not_balanced(books, second):
    for offset in range(105, 110):
        books.add_dead_letter(letter(0, offset))
    if second == "a dead letter":
        books.add_dead_letter(letter(3, 1))
    else:
        books.add_prediction(prediction(3, 1, score=0.6), 1050)
    if second.endswith("again"):
        books.add_prediction(prediction(3, 1), 1050)
    ledger = books.close(labels=0)
    assert (ledger.lost, ledger.duplicates, ledger.duplicates_differing) == (0, 1, 1)
    assert not ledger.is_balanced


def test_an_id_sent_twice_is_two_positions_and_two_decisions(books):
    for offset in range(105, 108):
        books.add_prediction(prediction(0, offset, name="3-1"), 1050)
    books.add_prediction(prediction(0, 108, name="3-2"), 1050)
    books.add_prediction(prediction(0, 109), 1050)
    ledger = books.close(labels=0)
    assert (ledger.ids_sent_twice, ledger.duplicates, ledger.predicted) == (2, 0, 15)
    assert ledger.is_balanced


def test_decisions_outside_the_books_and_offsets_without_a_record_change_nothing():
    books = Books({0: (5, 10)})
    books.add_transaction(0, 5)
    books.add_transaction(0, 10)
    for partition, offset in ((0, 4), (0, 5), (0, 10), (1, 7)):
        books.add_prediction(prediction(partition, offset), 1050)
    ledger = books.close(labels=0)
    assert (ledger.produced, ledger.predicted, ledger.lost, ledger.duplicates) == (1, 1, 0, 0)
    assert ledger.is_balanced


def test_what_lies_before_the_start_is_counted_apart_and_not_lost():
    books = Books({0: (5, 10), 1: (3, 3)})
    for partition, end in ((0, 10), (1, 3)):
        for offset in range(end):
            books.add_transaction(partition, offset)
    for offset in range(5, 10):
        books.add_prediction(prediction(0, offset), 1050)
    ledger = books.close(labels=0)
    assert (ledger.before_start, ledger.produced, ledger.predicted, ledger.lost) == (8, 5, 5, 0)
    assert ledger.is_balanced
    assert any("8 before the start" in line for line in lines(ledger))


def test_no_transactions_are_a_balanced_ledger():
    ledger = Books({0: (0, 0)}).close(labels=0)
    assert ledger.is_balanced
    assert ledger.latency_ms == {"p50": None, "p95": None, "p99": None, "max": None}
