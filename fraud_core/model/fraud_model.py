"""A trained model with everything that decides: trees, calibration, threshold, and the anomaly detector beside them.

How it is stored is not known here.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self, cast

import numpy as np
import xgboost as xgb

from fraud_core.features.exchange_rates import BASE
from fraud_core.features.table import FEATURE_HASH, FEATURES
from fraud_core.model.anomaly import AnomalyDetector
from fraud_core.model.calibration import Calibration
from fraud_core.model.tree_shap import TreeShap

_DETECTOR = "anomaly_detector"  # a booster carries it as an attribute: one file, one checksum


@dataclass(frozen=True)
class ModelCard:
    """What a model must carry besides its trees to be served."""

    threshold: float  # of the calibrated score
    base_rate: float  # share of fraud in the training rows
    training_window: tuple[int, int]  # event times in ms, [start, end)
    features: tuple[str, ...] = FEATURES
    feature_hash: str = FEATURE_HASH
    calibration: Calibration = field(default_factory=Calibration)
    params: dict[str, float | int] = field(default_factory=dict)  # of the fit, as search.refit takes them
    currency: str = BASE  # that the features are in

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        lists = {"features": list(self.features), "training_window": list(self.training_window)}
        return {**asdict(self), **lists, "calibration": self.calibration.to_dict()}

    @classmethod
    def from_dict(cls, card: dict[str, Any]) -> "ModelCard":
        tuples = {name: tuple(card[name]) for name in ("features", "training_window")}
        return cls(**{**card, **tuples, "calibration": Calibration.from_dict(card["calibration"])})


class FraudModel:
    """Scores feature vectors. Refuses, with ValueError, a model made for other features than this code computes."""

    def __init__(self, booster: xgb.Booster, card: ModelCard) -> None:
        if card.features != FEATURES or card.feature_hash != FEATURE_HASH:
            missing = sorted(set(card.features) - set(FEATURES))
            unknown = sorted(set(FEATURES) - set(card.features))
            raise ValueError(
                f"the model was trained on other features than this version computes (only in the model: {missing}, "
                f"only in the code: {unknown}, hash {card.feature_hash} against {FEATURE_HASH}): train it again"
            )
        # One thread a call: the cores belong to the partitions, and small batches only lose by splitting.
        booster.set_param({"nthread": 1})
        self._booster = booster
        self.card = card
        detector = booster.attr(_DETECTOR)
        self.anomaly = None if detector is None else AnomalyDetector.from_text(detector)

    @classmethod
    def with_detector(cls, booster: xgb.Booster, card: ModelCard, detector: AnomalyDetector) -> Self:
        """From here on the booster carries the detector, wherever it is saved."""
        booster.set_attr(**{_DETECTOR: detector.to_text()})
        return cls(booster, card)

    @property
    def booster(self) -> xgb.Booster:
        return self._booster

    def score(self, values: np.ndarray) -> np.ndarray:
        """Calibrated scores, (n,) float64 in [0, 1], of (n, len(FEATURES)) values.

        The same bits for a row in whatever batch it comes.
        """
        return self.card.calibration.apply(self.raw_score(values))

    def raw_score(self, values: np.ndarray) -> np.ndarray:
        """What the trees say, before calibration; shapes as in ``score``."""
        if len(values) == 0:
            return np.empty(0)
        return self._booster.inplace_predict(values.astype(np.float32), validate_features=False).astype(np.float64)

    def total_gain(self) -> dict[str, float]:
        """How much the splits on a feature lowered the loss, by feature; without the features that no tree asks for."""
        # A list of numbers a feature is what linear boosters give.
        return cast(dict[str, float], self._booster.get_score(importance_type="total_gain"))

    def contributions(self, values: np.ndarray) -> np.ndarray:
        """TreeSHAP, (n, len(FEATURES)) float64, in log-odds; the same bits for a row in whatever batch it comes.

        Costs a hundred times what a score does: for flagged rows only.
        """
        return self._shap.contributions(values.astype(np.float32))

    @cached_property
    def _shap(self) -> TreeShap:
        return TreeShap.of(self._booster)
