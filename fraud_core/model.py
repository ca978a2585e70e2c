"""A trained model with everything that decides: trees, feature list, threshold. How it is stored is not known here."""

from dataclasses import asdict, dataclass

import numpy as np
import xgboost as xgb

from fraud_core.features import FEATURE_HASH, FEATURES


@dataclass(frozen=True)
class ModelCard:
    """What a model must carry besides its trees to be served."""

    threshold: float
    base_rate: float  # share of fraud in the training rows
    training_window: tuple[int, int]  # event times in ms, [start, end)
    features: tuple[str, ...] = FEATURES
    feature_hash: str = FEATURE_HASH

    def to_dict(self) -> dict:
        """Plain JSON types."""
        return {**asdict(self), "features": list(self.features), "training_window": list(self.training_window)}

    @classmethod
    def from_dict(cls, card: dict) -> "ModelCard":
        return cls(**{**card, "features": tuple(card["features"]), "training_window": tuple(card["training_window"])})


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

    @property
    def booster(self) -> xgb.Booster:
        return self._booster

    def score(self, values: np.ndarray) -> np.ndarray:
        """(n, len(FEATURES)) float64 to (n,) float64 in [0, 1]; the same bits for a row in whatever batch it comes."""
        if len(values) == 0:
            return np.empty(0)
        return self._booster.inplace_predict(values.astype(np.float32), validate_features=False).astype(np.float64)

    def contributions(self, values: np.ndarray) -> np.ndarray:
        """TreeSHAP, (n, len(FEATURES)) float64, in log-odds. Costs milliseconds a row: for flagged rows only."""
        if len(values) == 0:
            return np.empty((0, len(FEATURES)))
        matrix = xgb.DMatrix(values.astype(np.float32), feature_names=list(FEATURES), nthread=1)
        return self._booster.predict(matrix, pred_contribs=True)[:, :-1].astype(np.float64)
