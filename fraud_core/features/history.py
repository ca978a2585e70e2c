"""A user's history as the online store keeps it: one compact binary blob, opaque to everybody else.

A blob is a header followed by entries in arrival order. The header sums up everything that arrived before the last
micro-batch that wrote the blob, so that the same micro-batch, replayed, finds the state it started from: its own
entries are still in the blob but carry offsets it ignores.

What a later transaction may look at (*visible*) is the last MAX_ENTRIES arrivals, as far as their event time lies
within MAX_AGE_MS of the newest event time seen so far. Both bounds only ever move forward, so what has become invisible
can be dropped at any time without changing a feature: training, which drops nothing, and the stream agree to the bit.

A payment that repeats the transaction_id of a visible one is no arrival: it is not in the history.
"""

from collections.abc import Sequence

import numpy as np

from fraud_core.timestamps import DAY_MS

MAX_ENTRIES = 1000
MAX_AGE_MS = 31 * DAY_MS  # the longest window (30 days), and a day for events that arrive late

# A history may be forgotten when neither its last arrival nor its newest event time is younger than this. Only a
# payment that comes more than 32 days late (this, less the longest window) could have seen any of it.
FORGET_AFTER_MS = 2 * MAX_AGE_MS

NEVER_MS = np.iinfo(np.int64).min // 2
FORMAT = 2

HEADER = np.dtype(
    [
        ("format", "<i8"),
        ("before_offset", "<i8"),  # the header covers arrivals with a lower offset
        ("arrivals", "<i8"),  # how many there were
        ("newest_ms", "<i8"),  # their newest event time
    ]
)
ENTRY = np.dtype(
    [
        ("time_ms", "<i8"),
        ("offset", "<i8"),
        ("amount_minor", "<i8"),
        ("merchant", "<u4"),  # a code, as the next two are: MISSING when not known
        ("device", "<u4"),
        ("country", "<u2"),
        ("kind", "<u2"),  # sum of DECLINED, REFUND and VERIFICATION
        ("arrival", "<u4"),  # 0-based number of this arrival among the user's
        ("latitude", "<f4"),  # NaN when not known
        ("longitude", "<f4"),
        ("id_hash", "<u8"),  # of the transaction_id: by it a repeated payment is known
        ("comparable_with", "<u4"),  # whose amounts this one is compared with: see exchange_rates.Converted
    ]
)
MISSING = 0
DECLINED, REFUND, VERIFICATION = 1, 2, 4


def empty_headers(n: int) -> np.ndarray:
    headers = np.zeros(n, HEADER)
    headers["format"] = FORMAT
    headers["newest_ms"] = NEVER_MS
    return headers


def unpack(blobs: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Headers (n,), all entries concatenated in order of the blobs, and the number of entries of each blob (n,)."""
    headers = empty_headers(len(blobs))
    present = [index for index, blob in enumerate(blobs) if blob is not None]
    counts = np.zeros(len(blobs), np.int64)
    if not present:
        return headers, np.zeros(0, ENTRY), counts
    found = [blob for blob in blobs if blob is not None]
    headers[present] = np.frombuffer(b"".join([blob[: HEADER.itemsize] for blob in found]), HEADER)
    if (headers["format"] != FORMAT).any():
        raise ValueError(
            f"the online store holds histories of another format than {FORMAT} beside a position of this one: empty "
            "it (FLUSHDB) and let the job rebuild them"
        )
    entries = np.frombuffer(b"".join([blob[HEADER.itemsize :] for blob in found]), ENTRY)
    counts[present] = [(len(blob) - HEADER.itemsize) // ENTRY.itemsize for blob in found]
    return headers, entries, counts


def last_arrival(blob: bytes) -> tuple[int, int]:
    """Offset of a user's last arrival, and the newest event time."""
    headers, entries, _ = unpack([blob])
    newest_ms = max(int(headers["newest_ms"][0]), int(entries["time_ms"].max(initial=NEVER_MS)))
    return int(entries["offset"].max(initial=headers["before_offset"][0] - 1)), newest_ms


def pack(headers: np.ndarray, entries: np.ndarray, counts: np.ndarray) -> list[bytes]:
    """The inverse of ``unpack``."""
    head, body = headers.tobytes(), entries.tobytes()
    ends = np.cumsum(counts) * ENTRY.itemsize
    blobs, start = [], 0
    for index, end in enumerate(ends.tolist()):
        blobs.append(head[index * HEADER.itemsize : (index + 1) * HEADER.itemsize] + body[start:end])
        start = end
    return blobs
