"""Model versions kept on disk as they were registered: what serves while the registry is down, and in every process of
the job.

A version that was made for other features, or amounts in another currency, is refused; one whose files are no longer
those that were registered is left alone, as if it were not there.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fraud_core.features.table import FEATURES
from fraud_core.model.digests import require_digests
from fraud_core.model.fraud_model import FraudModel
from fraud_core.model.stored import StoredModel
from fraud_io.files import replacing
from fraud_io.model_registry import Entry

log = logging.getLogger(__name__)

_WARM_UP_ROWS = (1, 10, 100, 10_000)
_DESCRIPTION, _TREES = "model.json", "model.ubj"


@dataclass(frozen=True)
class ServedModel:
    version: str
    model: FraudModel


@dataclass(frozen=True)
class Models:
    """The models in use at one moment; None where there is none.

    ``is_confirmed``: the registry answered the last time it was asked, and ``champion`` is what it named.
    """

    champion: ServedModel | None = None
    challenger: ServedModel | None = None
    is_confirmed: bool = False


class ModelCache:
    """Has a folder for each version in ``folder``. What it hands out is warm."""

    def __init__(self, folder: Path, currency: str) -> None:
        self._folder = folder
        self._currency = currency

    def entry(self, version: str) -> Entry | None:
        description = self._description(version)
        return None if description is None else _entry(description)

    def get(self, version: str) -> ServedModel | None:
        """None when it is not there as it was registered. Raises ValueError when it was made for other features."""
        description = self._description(version)
        if description is None:
            return None
        stored = StoredModel((self._folder / version / _TREES).read_bytes(), description["card"])
        try:
            require_digests(stored.ubj, stored.card, _entry(description).digests)
        except ValueError as error:
            log.error("model version %s in %s is left alone: %s", version, self._folder, error)
            return None
        return self._warm(version, stored)

    def models(self, champion: str | None, challenger: str | None) -> Models:
        """Those of the versions that are there. Raises ValueError as ``get`` does."""
        return Models(self.get(champion) if champion else None, self.get(challenger) if challenger else None)

    def add(self, version: str, entry: Entry, stored: StoredModel) -> ServedModel:
        """Keep a version whose files are those of ``entry``, in place of what has its number.

        Raises ValueError when it was made for other features; the cache is then as it was.
        """
        served = self._warm(version, stored)
        # Durably: the plan of a micro-batch names it, and after a power cut the registry may not be there.
        with replacing(self._folder / version, durably=True) as new:
            new.mkdir()
            (new / _TREES).write_bytes(stored.ubj)
            (new / _DESCRIPTION).write_text(json.dumps({**asdict(entry), "card": stored.card}))
        return served

    def _warm(self, version: str, stored: StoredModel) -> ServedModel:
        """Raises ValueError when the model was made for other features."""
        stored.require_currency(self._currency)
        model = stored.open()
        for rows in _WARM_UP_ROWS:
            model.score(np.zeros((rows, len(FEATURES))))
        model.contributions(np.zeros((1, len(FEATURES))))
        if model.anomaly is not None:
            model.anomaly.score(np.zeros((1, len(FEATURES))))
        return ServedModel(version, model)

    def _description(self, version: str) -> dict | None:
        file = self._folder / version / _DESCRIPTION
        return json.loads(file.read_text()) if file.exists() else None


def _entry(description: dict) -> Entry:
    return Entry(description["run_id"], description["digests"])
