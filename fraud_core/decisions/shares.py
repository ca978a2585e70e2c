"""A fixed share of ids: the same id is always in or always out, in whatever process, order or batch it comes.

Each purpose draws for itself, so that the cards of an A/B arm are not also those whose payments are reviewed.
"""

from collections.abc import Sequence

import numpy as np
import xxhash

_STEPS = 2.0**64


def is_within(share: float, purpose: str, ids: Sequence[str]) -> np.ndarray:
    """(n,) bool: which of ``ids`` belong to ``share`` (0 to 1) of all; the ids of a share are within a larger one."""
    if not 0 < share < 1:
        return np.full(len(ids), share >= 1)
    digests = np.array([xxhash.xxh3_64_intdigest(f"{purpose}:{id_}".encode()) for id_ in ids], dtype=np.uint64)
    return digests / _STEPS < share
