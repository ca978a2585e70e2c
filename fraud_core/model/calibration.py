"""From a model's raw score to a probability: of so many transactions scored 0.3, three in ten should be fraud.

Fitted on validation, because the trees have seen their own training rows. Isotonic regression follows any rising shape
but needs many frauds; Platt's method (a logistic curve) needs few. Whichever predicts cards it has not seen better is
taken.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

Method = Literal["none", "isotonic", "platt"]

# Isotonic regression gives ranges of scores one probability. This much of the raw score keeps their order.
ORDER_KEPT = 1e-6
_CLIP = 1e-7
_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """A rising map from [0, 1] to [0, 1] that keeps different scores different.

    x, y : isotonic: the corners of the curve. platt: x = (slope, intercept) in log-odds, y = (). none: both empty.
    log_loss : of each method compared, "none" included, on cards left out of its fit.
    """

    method: Method = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    log_loss: dict[str, float] = field(default_factory=dict)

    def apply(self, scores: NDArray[np.float64]) -> np.ndarray:
        """(n,) float64 raw scores to (n,) float64; each element on its own, in whatever batch it comes."""
        if self.method == "isotonic":
            return (1 - ORDER_KEPT) * np.interp(scores, self.x, self.y) + ORDER_KEPT * scores
        if self.method == "platt":
            slope, intercept = self.x
            return 1 / (1 + np.exp(-(slope * _log_odds(scores) + intercept)))
        return scores

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        return cls(**{**stored, "x": tuple(stored["x"]), "y": tuple(stored["y"])})


def calibrate(is_fraud: np.ndarray, scores: np.ndarray, user_ids: pl.Series) -> Calibration:
    """The better of isotonic and Platt by log loss on left-out cards, fitted on all rows.

    is_fraud (n,) bool, scores (n,) float64 raw, user_ids (n,): the rows of a card are left out together.
    With fewer cards or frauds than folds nothing can be compared, and Platt is taken.
    """
    # Here and not above: the import takes a second, and whoever serves a model needs none of it.
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from threadpoolctl import threadpool_limits

    y = is_fraud.astype(np.int8)
    curves = {
        "isotonic": IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip"),
        "platt": LogisticRegression(C=1e6),  # in effect without a penalty
    }
    inputs = {"isotonic": scores, "platt": _log_odds(scores)}
    cards = user_ids.rank("dense").to_numpy()
    losses = {}
    # How BLAS shares a sum among its threads changes the last bits, and a model is to be the same on another machine.
    with threadpool_limits(1, "blas"):
        if user_ids.filter(pl.Series(is_fraud)).n_unique() >= _FOLDS:
            losses = {"none": float(log_loss(y, np.clip(scores, _CLIP, 1 - _CLIP)))}
            for method, curve in curves.items():
                losses[method] = float(log_loss(y, _left_out(curve, inputs[method], y, cards)))
        chosen: Method = "isotonic" if losses and losses["isotonic"] < losses["platt"] else "platt"
        fitted = curves[chosen].fit(inputs[chosen].reshape(-1, 1), y)
    if chosen == "isotonic":
        return Calibration(chosen, tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()), losses)
    return Calibration(chosen, (float(fitted.coef_[0, 0]), float(fitted.intercept_[0])), (), losses)


def _log_odds(scores: np.ndarray) -> np.ndarray:
    inside = np.clip(scores, _CLIP, 1 - _CLIP)
    log_odds: np.ndarray = np.log(inside / (1 - inside))
    return log_odds


def _left_out(
    curve: "IsotonicRegression | LogisticRegression", inputs: np.ndarray, y: np.ndarray, cards: np.ndarray
) -> np.ndarray:
    from sklearn.model_selection import GroupKFold, cross_val_predict

    method = "predict_proba" if hasattr(curve, "predict_proba") else "predict"
    folds = GroupKFold(_FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(curve, inputs.reshape(-1, 1), y, groups=cards, cv=folds, method=method)
    inside: np.ndarray = np.clip(predicted[:, 1] if predicted.ndim == 2 else predicted, _CLIP, 1 - _CLIP)
    return inside
