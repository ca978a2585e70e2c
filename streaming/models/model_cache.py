"""Model versions kept on disk as they were registered: what serves while the registry is down, and in every process of
the job.

A version that was made for other features is refused; one whose files are no longer those that were registered is left
alone, as if it were not there.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import xgboost as xgb

from fraud_core.features.table import FEATURES
from fraud_core.model.digests import require_digests
from fraud_core.model.fraud_model import FraudModel, ModelCard

log = logging.getLogger(__name__)

_WARM_UP_ROWS = (1, 10, 100, 10_000)
_DESCRIPTION, _TREES = "model.json", "model.ubj"

Download = Callable[[Path], dict]
"""Writes the trees to a file and returns the model's card. Raises OSError and ValueError as Registry's methods do."""


@dataclass(frozen=True)
class Entry:
    """A version as it was registered: the run it comes from, which tells it from one of the same number in another
    registry, and its digests by name (model_digests)."""

    run_id: str
    digests: dict[str, str]


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

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def entry(self, version: str) -> Entry | None:
        description = self._description(version)
        return None if description is None else _entry(description)

    def get(self, version: str) -> ServedModel | None:
        """None when it is not there as it was registered. Raises ValueError when it was made for other features."""
        description, folder = self._description(version), self._folder / version
        if description is None:
            return None
        card = description["card"]
        try:
            require_digests((folder / _TREES).read_bytes(), card, _entry(description).digests)
        except ValueError as error:
            log.error("model version %s in %s is left alone: %s", version, self._folder, error)
            return None
        return _load(folder, version, card)

    def models(self, champion: str | None, challenger: str | None) -> Models:
        """Those of the versions that are there. Raises ValueError as ``get`` does."""
        return Models(*(version and self.get(version) for version in (champion, challenger)))

    def add(self, version: str, entry: Entry, download: Download) -> ServedModel:
        """Keep a version, in place of what has its number. Raises ValueError when it cannot be served, and what
        ``download`` raises; the cache is then as it was."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="new-") as temporary:
            new = Path(temporary) / version
            new.mkdir()
            card = download(new / _TREES)
            require_digests((new / _TREES).read_bytes(), card, entry.digests)
            (new / _DESCRIPTION).write_text(json.dumps({**asdict(entry), "card": card}))
            model = _load(new, version, card)
            shutil.rmtree(self._folder / version, ignore_errors=True)
            new.rename(self._folder / version)
        return model

    def _description(self, version: str) -> dict | None:
        file = self._folder / version / _DESCRIPTION
        return json.loads(file.read_text()) if file.exists() else None


def _entry(description: dict) -> Entry:
    return Entry(description["run_id"], description["digests"])


def _load(folder: Path, version: str, card: dict) -> ServedModel:
    """Raises ValueError when the model was made for other features."""
    booster = xgb.Booster()
    booster.load_model(folder / _TREES)
    model = FraudModel(booster, ModelCard.from_dict(card))
    for rows in _WARM_UP_ROWS:
        model.score(np.zeros((rows, len(FEATURES))))
    model.contributions(np.zeros((1, len(FEATURES))))
    if model.anomaly is not None:
        model.anomaly.score(np.zeros((1, len(FEATURES))))
    return ServedModel(version, model)
