"""Why a message was not accepted."""

from dataclasses import dataclass

_MAX_REASON = 300


@dataclass(frozen=True)
class Refusal:
    """``index`` is the position in the decoded batch; ``kind`` a short class to count by, ``reason`` a sentence."""

    index: int
    kind: str
    reason: str

    @classmethod
    def of(cls, index: int, kind: str, reason: str) -> "Refusal":
        """A refusal whose reason is cut to a bounded length: it may quote a hostile message."""
        return cls(index, kind, reason if len(reason) <= _MAX_REASON else reason[:_MAX_REASON] + "…")
