"""The floor: microseconds a transaction that each step of streaming.job.scorer costs on one core, called one by one."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from benchmarks.streaming.inputs import Record
from benchmarks.streaming.plain import serving
from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions, top_reasons
from fraud_core.features.table import compute_features, users_of
from fraud_core.settings import Settings
from streaming.job.scorer import SCHEMA, Serving, decode, in_arrival_order
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import OnlineStore

_WARM_UP_BATCHES = 2


def floor_us(settings: Settings, records: Sequence[Record], batch: int = 10_000) -> dict[str, float]:
    """The median over batches of ``batch`` records; at least three of them. The first two do not count.

    ``predict`` is both models, ``anomaly`` the champion's detector, ``explain`` TreeSHAP of the flagged, ``store``
    reading and writing the histories.
    """
    store, decides = OnlineStore(settings.store_address, "floor", threading.Event()), serving(settings)
    seconds = [
        _steps(_table(records[first : first + batch], first), OffsetRange(0, first, first + batch), store, decides)
        for first in range(0, len(records) - batch + 1, batch)
    ][_WARM_UP_BATCHES:]
    floor = {step: float(np.median([one[step] for one in seconds])) / batch * 1e6 for step in seconds[0]}
    return {step: round(us, 2) for step, us in (floor | {"total": sum(floor.values())}).items()}


def _steps(records: pa.Table, offsets: OffsetRange, store: OnlineStore, decides: Serving) -> dict[str, float]:
    covered = {0: offsets}
    marks = [time.perf_counter()]
    transactions = decode(in_arrival_order(records), decides.rules).transactions
    marks.append(time.perf_counter())
    users = {0: [user for _, user in users_of(transactions)]}
    old = store.read(covered, users)
    marks.append(time.perf_counter())
    computed = compute_features(transactions, old, decides.tables.risk, decides.exchange_rates)
    new, values = computed.new_histories(), computed.values
    marks.append(time.perf_counter())
    champion, challenger = (
        Scored(served.version, served.model.card.threshold, served.model.score(values))
        for served in (decides.models.champion, decides.models.challenger)
    )
    marks.append(time.perf_counter())
    detector = decides.models.champion.model.anomaly
    anomaly = Anomaly(detector.score(values), detector.limit)
    marks.append(time.perf_counter())
    flagged = np.flatnonzero(champion.is_flagged)
    contributions = decides.models.champion.model.contributions(values[flagged])
    reasons = dict(zip(flagged.tolist(), top_reasons(values[flagged], contributions), strict=True))
    marks.append(time.perf_counter())
    tables = decides.tables.used_for(transactions["event_time_ms"].to_numpy())
    nothing = np.zeros(len(values), dtype=bool)
    decisions = Decisions(champion, challenger, nothing, decides.review_share, decides.models.is_confirmed, anomaly)
    encode_predictions(transactions, values, decisions, reasons, tables)
    marks.append(time.perf_counter())
    store.write(covered, users, new)
    marks.append(time.perf_counter())
    decoded, read, features, predict, strange, explain, encode, write = np.diff(marks)
    return {
        "decode": decoded,
        "features": features,
        "store": read + write,
        "predict": predict,
        "anomaly": strange,
        "explain": explain,
        "encode": encode,
    }


def _table(records: Sequence[Record], first: int) -> pa.Table:
    keys, values = zip(*records, strict=True)
    n, now = len(records), datetime.now(UTC)
    columns = (keys, values, [0] * n, range(first, first + n), [now] * n)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
