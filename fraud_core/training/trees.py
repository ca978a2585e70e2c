"""The only place where trees are grown: rows are binned, then gradient-boosted trees grow on the bins.

One thread, so that sums are the same to the bit every time.
"""

from collections.abc import Sequence

import numpy as np
import xgboost as xgb


def binned(
    values: np.ndarray, is_fraud: np.ndarray, weights: np.ndarray, max_bin: int, features: Sequence[str] | None = None
) -> xgb.QuantileDMatrix:
    """values (n, k), is_fraud (n,) 0 or 1, weights (n,); ``features`` : the names of the columns in the model."""
    return xgb.QuantileDMatrix(
        values, is_fraud, weight=weights, feature_names=features and list(features), max_bin=max_bin, nthread=1
    )


def grow(rows: xgb.QuantileDMatrix, params: dict[str, float | int], seed: int) -> xgb.Booster:
    """Same rows, parameters and seed: the same model bytes.

    ``params``: names as XGBClassifier has them, n_estimators among them.
    """
    settings = {name: value for name, value in params.items() if name != "n_estimators"}
    fixed = {"objective": "binary:logistic", "tree_method": "hist", "max_bin": rows.max_bin, "nthread": 1, "seed": seed}
    return xgb.train({**settings, **fixed}, rows, params["n_estimators"])
