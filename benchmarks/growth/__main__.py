"""``./run bench growth``: what a transaction costs for a hot card, with many cards in the store, and late in a topic.

Features and both ways to the store only: the other steps see no history.
"""

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import redis
import typer

from benchmarks.streaming.scene import embedded
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.history import ENTRY, empty_headers, pack
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import compute_features, users_of
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import OnlineStore

app = typer.Typer(add_completion=False)

_BATCH = 10_000
_START_MS = 1_767_225_600_000  # 2026-01-01
_ENTRIES = 10  # a card's history in the store of many cards
_CHUNK = 50_000


@app.command()
def main(
    cards: Annotated[int, typer.Option(min=_BATCH, help="Cards in the store; a million takes a gigabyte.")] = 1_000_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Microseconds a transaction, and bytes a card."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="fraud-bench-") as folder:
        for name, measure in (("hot_card", _hot_card), ("topic", _topic), ("cards", lambda at: _cards(at, cards))):
            with embedded(Path(folder) / name, ("store",)) as settings:
                figures[name] = measure(settings)
            print(f"{name}: {figures[name]}", flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(figures) + "\n")


def _hot_card(settings: Settings) -> dict[str, float]:
    """One card pays 100,000 times in a day."""
    costs = _run(settings, ((["hot"] * _BATCH, _START_MS + number * DAY_MS // 10) for number in range(10)))
    return {"first_us": costs[0], "at_50k_us": costs[5], "last_us": costs[-1]}


def _topic(settings: Settings) -> dict[str, float]:
    """10,000 cards pay once a day for 120 days."""
    users = [f"u{number}" for number in range(_BATCH)]
    costs = _run(settings, ((users, _START_MS + day * DAY_MS) for day in range(120)))
    return {f"day_{day}_us": float(np.median(costs[day - 10 : day])) for day in (30, 60, 90, 120)}


def _cards(settings: Settings, cards: int) -> dict[str, float]:
    """Histories of many cards lie in the store; each batch is of cards drawn at random."""
    store, client = _store(settings), redis.Redis.from_url(settings.store_address)
    empty = client.info("memory")["used_memory"]
    few = _random_cards(store, 0, _BATCH)
    many = _random_cards(store, _BATCH, cards)
    return {"few_us": few, "many_us": many, "bytes_a_card": (client.info("memory")["used_memory"] - empty) // cards}


def _random_cards(store: OnlineStore, first: int, cards: int) -> float:
    """Fill the store with the cards from ``first`` up to ``cards``; the cost of batches of any of them."""
    position = first * 10  # above the offsets of the ten batches over the cards before
    for begin in range(first, cards, _CHUNK):
        n = min(_CHUNK, cards - begin)
        headers, entries = empty_headers(n), np.zeros(n * _ENTRIES, ENTRY)
        entries["arrival"] = np.tile(np.arange(_ENTRIES), n)
        entries["time_ms"] = _START_MS + entries["arrival"].astype(np.int64) * DAY_MS
        entries["amount_minor"] = 1000
        blobs = pack(headers, entries, np.full(n, _ENTRIES))
        store.write({0: OffsetRange(0, 0, position)}, {0: [f"u{card}" for card in range(begin, begin + n)]}, blobs)
    rng = np.random.default_rng(cards)
    batches = (([f"u{card}" for card in rng.choice(cards, _BATCH)], _START_MS + 11 * DAY_MS) for _ in range(10))
    return float(np.median(_batches(store, batches, position)[2:]))


def _run(settings: Settings, batches: Iterator[tuple[list[str], int]]) -> list[float]:
    return _batches(_store(settings), batches, 0)


def _store(settings: Settings) -> OnlineStore:
    return OnlineStore(settings.store_address, "growth", threading.Event())


def _batches(store: OnlineStore, batches: Iterator[tuple[list[str], int]], offset: int) -> list[float]:
    """Microseconds a transaction of each batch (users, first event time in ms)."""
    costs, risk = [], MerchantRisk.empty()
    for users, time_ms in batches:
        payments = _payments(users, time_ms, offset)
        covered = {0: OffsetRange(0, offset, offset + len(users))}
        began = time.perf_counter()
        distinct = {0: [user for _, user in users_of(payments)]}
        batch = compute_features(payments, store.read(covered, distinct), risk, NO_RATES)
        store.write(covered, distinct, batch.new_histories())
        costs.append(round((time.perf_counter() - began) / len(users) * 1e6, 2))
        offset += len(users)
    return costs


def _payments(users: list[str], time_ms: int, offset: int) -> pl.DataFrame:
    n = len(users)
    times = time_ms + np.arange(n) * (DAY_MS // 10 // n)
    columns = {"partition": [0] * n, "offset": np.arange(offset, offset + n), "ingest_time_ms": times}
    ids = [f"t{number}" for number in range(offset, offset + n)]
    names = {"transaction_id": ids, "user_id": users, "merchant_id": [f"m{row % 1000}" for row in range(n)]}
    paid = {"amount_minor": np.arange(1000, 1000 + n), "currency": ["EUR"] * n, "event_time_ms": times}
    missing = dict.fromkeys(COLUMNS, [None] * n)
    return pl.DataFrame(missing | columns | names | paid, schema=COLUMNS)


if __name__ == "__main__":
    app()
