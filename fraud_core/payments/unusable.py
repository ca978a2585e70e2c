"""A value that no reading gives a meaning."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unusable:
    """In the place of a field's value; ``reason`` : a sentence."""

    reason: str
