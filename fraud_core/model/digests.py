"""SHA-256 of a model's files, so that what is served is what was judged."""

import hashlib
from typing import Any

import orjson

TREES, CARD = "sha256_model_ubj", "sha256_card"
"""Names of the digests, as tags of a registered version."""


def digests(ubj: bytes, card: dict[str, Any]) -> dict[str, str]:
    """Digests by name: of the trees as they lie in ``model.ubj``, and of the card (plain JSON types), keys sorted."""
    return {
        TREES: hashlib.sha256(ubj).hexdigest(),
        CARD: hashlib.sha256(orjson.dumps(card, option=orjson.OPT_SORT_KEYS)).hexdigest(),
    }


def require_digests(ubj: bytes, card: dict[str, Any], registered: dict[str, str]) -> None:
    """ValueError, with a sentence that names the part, unless the model is the one in ``registered``."""
    found = digests(ubj, card)
    missing = [name for name in found if name not in registered]
    if missing:
        raise ValueError(f"the registry names no {' and no '.join(missing)} of it: it was not registered by training")
    other = [name for name in found if found[name] != registered[name]]
    if other:
        raise ValueError(
            f"its files are not those that were registered ({', '.join(other)} differs): restore them, or promote "
            "another version"
        )
