"""How an asset reports a verdict about the models in use: always the same entries and one check."""

from typing import Any

import dagster as dg

from fraud_assets.checks import warning
from fraud_core.promotion.gates import Verdict


def entries(verdict: Verdict) -> dict[str, Any]:
    """Metadata: the action it asks for, why, and the numbers behind that."""
    reasons = dg.MetadataValue.md("\n".join(f"- {reason}" for reason in verdict.reasons))
    return {"verdict": verdict.action, "reasons": reasons, **verdict.figures}


def check(name: str, verdict: Verdict, *, unless: str) -> dg.AssetCheckResult:
    """Fails when the verdict asks for the action ``unless``."""
    return warning(name, verdict.action != unless, reasons="; ".join(verdict.reasons))
