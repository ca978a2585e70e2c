"""How an asset declares and reports its checks. What they check is beside the asset."""

from typing import Any

import dagster as dg
import polars as pl


def blocking(asset: str, **descriptions: str) -> list[dg.AssetCheckSpec]:
    """Checks of ``asset`` by name; when one of them fails, nothing downstream of the asset runs."""
    return [dg.AssetCheckSpec(name, asset=asset, description=d, blocking=True) for name, d in descriptions.items()]


def non_blocking(asset: str, **descriptions: str) -> list[dg.AssetCheckSpec]:
    """Checks of ``asset`` by name; when one of them fails, the assets downstream run all the same."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text) for name, text in descriptions.items()]


def result(name: str, passed: bool, **figures: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=bool(passed), metadata=figures)


def warning(name: str, passed: bool, **figures: Any) -> dg.AssetCheckResult:
    """The result of a check whose failure warns and is not an error."""
    return dg.AssetCheckResult(
        check_name=name, passed=bool(passed), severity=dg.AssetCheckSeverity.WARN, metadata=figures
    )


def features_are_finite(rows: pl.DataFrame) -> dg.AssetCheckResult:
    """Passes when each of FEATURES is a number in every row; names those that are not."""
    from fraud_core.features.table import FEATURES

    bad = [name for name in FEATURES if not rows[name].is_finite().fill_null(False).all()]
    return result("features_are_finite", not bad, not_finite=bad)
