"""Transactions inside the simulator: arrays of numbers, before they get names."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from fraud_core.money import minor_units, to_minor_units

TYPES = ("purchase", "refund", "verification")
PURCHASE, REFUND, VERIFICATION = range(3)
DECLINE_REASONS = ("", "insufficient_funds", "wrong_pin", "expired_card", "wrong_security_code", "suspected_fraud")
"""By Events.decline; 0 is approved."""
APPROVED, INSUFFICIENT_FUNDS, WRONG_PIN, EXPIRED_CARD, WRONG_SECURITY_CODE, SUSPECTED_FRAUD = range(
    len(DECLINE_REASONS)
)

HOME_CURRENCY = "EUR"
_LEAST_CENTS = 50


@dataclass(frozen=True)
class Events:
    """Arrays of one length. ``customer``, ``merchant``: indices into the population; ``device``: a number that stands
    for a device (used online only); ``type``, ``decline``: indices into TYPES and DECLINE_REASONS; ``kind``: 0 genuine,
    else index into fraud_patterns.KINDS. It never leaves the simulator except as a label."""

    time_ms: np.ndarray
    customer: np.ndarray
    merchant: np.ndarray
    amount_minor: np.ndarray
    device: np.ndarray
    type: np.ndarray
    decline: np.ndarray
    kind: np.ndarray

    @property
    def is_fraud(self) -> np.ndarray:
        return self.kind > 0

    @property
    def is_declined(self) -> np.ndarray:
        return self.decline > APPROVED

    def __len__(self) -> int:
        return len(self.time_ms)

    def __getitem__(self, rows: np.ndarray) -> "Events":
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))


def charged_cents(price: np.ndarray) -> np.ndarray:
    """(n,) int64 hundredths of (n,) prices in units of the currency; nobody pays less than half a unit by card."""
    return to_minor_units(price, minor_units(HOME_CURRENCY)).clip(_LEAST_CENTS)


def concat(parts: Iterable[Events]) -> Events:
    """One after the other; at least one part."""
    parts = list(parts)
    return Events(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)))
