"""Keyed pseudonyms in place of what stands for people: cards, devices, addresses. Nothing here is reversible.

Whoever holds the key can tell whether an id is behind a pseudonym by computing it again; nobody else can, although ids
are few enough to be tried one by one. The same id always gets the same pseudonym, so habits, features and labels are
what they would be. Another key breaks that: every card begins without a history.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

FIELDS = ("user_id", "device_id", "ip_address", "email")


@dataclass(frozen=True)
class Pseudonyms:
    """``key``: secret bytes, the same for every producer of a topic."""

    key: bytes

    def of(self, field: str, name: str) -> str:
        """43 characters of base64url: HMAC-SHA-256 over the field's name, a zero byte and the id, both UTF-8.

        >>> Pseudonyms(b"k" * 32).of("user_id", "card-1")
        'WZJVhDRFu5EHw9PNLPsF-Ih1vy5sH_n8rde5ZJ_flM4'
        """
        digest = hmac.digest(self.key, f"{field}\0{name}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def hide(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """The transaction with a pseudonym in each of FIELDS that it has; everything else as it is."""
        hidden = {name: self.of(name, transaction[name]) for name in FIELDS if transaction.get(name) is not None}
        return transaction | hidden
