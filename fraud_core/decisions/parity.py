"""Training/serving skew, proven absent to the bit: what the stream decided is what training would compute.

A decision is computed again from what it names: the transactions of its card in its partition up to its
offset, the log of exchange rates, the merchant risk table and the model versions it names.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.merchant_risk import MERCHANT_FEATURES, MerchantRisk
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.model.fraud_model import FraudModel
from fraud_core.model.roles import CHALLENGER

RiskTable = tuple[dict[str, int], np.ndarray]
"""As merchant_risk.rows_of_table gives it."""

DIFFERENCES = {
    "transaction_id": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "field": pl.String,
    "served": pl.Float64,
    "recomputed": pl.Float64,
}
NO_TRANSACTION = "transaction"
"""``field`` of a decision whose transaction is not there."""

_POSITION = ["partition", "offset"]


def differences(
    served: pl.DataFrame,
    transactions: pl.DataFrame,
    tables: Mapping[str, RiskTable],
    models: Mapping[str, FraudModel],
    exchange_rates: ExchangeRates,
) -> pl.DataFrame:
    """DIFFERENCES between ``served`` and what comes out now, a row for each field whose bits differ.

    served : PREDICTION_COLUMNS, each position once. transactions : transaction.COLUMNS, everything that ever arrived
        of the cards of ``served``. tables, models : all that ``served`` names, by name and version.
        exchange_rates : every table of the log; its currency is that of ``served``.
    """
    arrived = transactions.sort(_POSITION)
    merchants = arrived.select(*_POSITION, "merchant_id").with_row_index("row")
    placed = served.join(merchants, on=_POSITION, how="left").sort(_POSITION)
    is_there = placed["row"].is_not_null()
    missing, placed = placed.filter(~is_there), placed.filter(is_there)
    batch, rows = compute_features(arrived, None, MerchantRisk.empty(), exchange_rates), placed["row"].to_numpy()
    values = batch.values[rows]
    _set_merchant_risk(values, placed, tables)
    recomputed = {
        "is_repeat": batch.is_repeat[rows].astype(np.float64),
        "rate_missing": batch.converted.is_missing[rows].astype(np.float64),
        **dict(zip(FEATURES, values.T, strict=True)),
        **_decisions(placed, values, models),
    }
    gone = missing.select(*_POSITION, "transaction_id", field=pl.lit(NO_TRANSACTION))
    found = [_differing(placed, name, column) for name, column in recomputed.items()]
    return pl.concat([pl.DataFrame(schema=DIFFERENCES), gone, *found], how="diagonal_relaxed").sort(*_POSITION, "field")


def _set_merchant_risk(values: np.ndarray, placed: pl.DataFrame, tables: Mapping[str, RiskTable]) -> None:
    for name in placed["merchant_risk_table"].unique().drop_nulls():
        rows = np.flatnonzero(placed["merchant_risk_table"] == name)
        of_table = placed[rows]
        risk = MerchantRisk({0: tables[name]})
        values[rows, -len(MERCHANT_FEATURES) :] = risk.lookup(of_table["merchant_id"], of_table["event_time_ms"])


def _decisions(
    placed: pl.DataFrame, values: np.ndarray, models: Mapping[str, FraudModel]
) -> dict[str, np.ndarray | pl.Series]:
    score, threshold = _scores(placed["model_version"], values, models)
    shadow_score, shadow_threshold = _scores(placed["shadow_model_version"], values, models)
    is_challengers = placed["arm"] == CHALLENGER
    champion = placed.select(pl.when(is_challengers).then("shadow_model_version").otherwise("model_version"))
    anomaly = np.full(len(values), np.nan)
    for version, rows in _by_version(champion.to_series()):
        detector = models[version].anomaly
        if detector is not None:
            anomaly[rows] = detector.score(values[rows])
    return {
        "score": score,
        "threshold": threshold,
        "prediction": (score >= threshold).astype(np.float64),
        "shadow_score": shadow_score,
        "shadow_prediction": np.where(np.isnan(shadow_score), np.nan, shadow_score >= shadow_threshold),
        "anomaly_score": anomaly,
    }


def _scores(versions: pl.Series, values: np.ndarray, models: Mapping[str, FraudModel]) -> tuple[np.ndarray, np.ndarray]:
    """Score and threshold of each row by its version; NaN where it names none."""
    score, threshold = np.full((2, len(values)), np.nan)
    for version, rows in _by_version(versions):
        score[rows], threshold[rows] = models[version].score(values[rows]), models[version].card.threshold
    return score, threshold


def _by_version(versions: pl.Series) -> Iterator[tuple[str, np.ndarray]]:
    for version in versions.unique().drop_nulls():
        yield version, np.flatnonzero((versions == version).fill_null(False))


def _differing(placed: pl.DataFrame, field: str, recomputed: np.ndarray) -> pl.DataFrame:
    """NaN in ``recomputed`` stands for a null: nothing that is computed is NaN."""
    served = placed[field].cast(pl.Float64).fill_null(np.nan).to_numpy()
    wanted = np.ascontiguousarray(recomputed, dtype=np.float64)
    differs = (served.view(np.int64) != wanted.view(np.int64)) & ~(np.isnan(served) & np.isnan(wanted))
    of_rows = placed.filter(differs).select("transaction_id", *_POSITION, field=pl.lit(field), served=pl.col(field))
    return of_rows.with_columns(recomputed=wanted[differs]).cast(pl.Schema(DIFFERENCES))
