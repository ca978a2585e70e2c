"""A model as it is kept and sent: in a registry, in the lake, in the stream's folder."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xgboost import Booster

    from fraud_core.model.calibration import Calibration
    from fraud_core.model.fraud_model import FraudModel


@dataclass(frozen=True)
class StoredModel:
    """``ubj``: trees in XGBoost's UBJ format. ``card``: its ModelCard in JSON types."""

    ubj: bytes
    card: dict[str, Any]

    @classmethod
    def of(cls, model: "FraudModel") -> "StoredModel":
        return cls(bytes(model.booster.save_raw("ubj")), model.card.to_dict())

    def completed(self, calibration: "Calibration", threshold: float) -> "StoredModel":
        """The same trees with what was chosen on validation."""
        return replace(self, card={**self.card, "calibration": calibration.to_dict(), "threshold": threshold})

    def require_currency(self, currency: str) -> None:
        """ValueError when it was trained on amounts in another one. Cards that name none are of other features."""
        own = self.card.get("currency", currency)
        if own != currency:
            raise ValueError(
                f"the model was trained on amounts in {own}, and FRAUD_CURRENCY is {currency}: train it again, or set "
                f"FRAUD_CURRENCY={own}"
            )

    def booster(self) -> "Booster":
        # Here and not above: the import takes seconds, and the code location is loaded in every process.
        from xgboost import Booster

        return Booster(model_file=bytearray(self.ubj))

    def open(self) -> "FraudModel":
        """ValueError when it was made for other features than this code computes."""
        from fraud_core.model.fraud_model import FraudModel, ModelCard

        return FraudModel(self.booster(), ModelCard.from_dict(self.card))
