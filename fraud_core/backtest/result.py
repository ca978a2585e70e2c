"""What a backtest found: plain data between the run that makes it and the report that shows it."""

from dataclasses import dataclass, field

import polars as pl

from fraud_core.evaluation.report import Evaluation
from fraud_core.model.calibration import Calibration
from fraud_core.model.threshold import Threshold
from fraud_core.training.split import TimeSplit


@dataclass(frozen=True)
class FoldResult:
    """One training and the later period it is judged on.

    scored : the test rows in order of event time: transaction_id, user_id, event_time_ms, currency, amount_minor,
        value_minor (training_set.ROW_COLUMNS), is_fraud Boolean, score Float64 (calibrated), is_flagged Boolean.
    search : the table of search.Tuning. importance : total gain by feature.
    cpu_seconds, wall_seconds : by step (features, smote ratio, search, fit, threshold, score).
    excluded_cards, excluded_rows : left out of ``scored`` because the card's fraud was known before.
    """

    fold: int
    split: TimeSplit
    scored: pl.DataFrame
    evaluation: Evaluation
    threshold: Threshold
    calibration: Calibration
    smote_ratio: float
    params: dict[str, float | int]
    search: pl.DataFrame
    importance: dict[str, float]
    train_rows: int
    train_frauds: int
    cpu_seconds: dict[str, float]
    wall_seconds: dict[str, float]
    excluded_cards: int = 0
    excluded_rows: int = 0


@dataclass(frozen=True)
class BacktestResult:
    """folds : in order of time. warnings : sentences with their counts, for rows of the files refused or left out.

    currency : of the features and amounts. currencies : evaluation.by_currency of the transactions up to the end of the
    tests.
    options : as given on the command line, for the report. columns_used : optional columns that the files have.
    """

    folds: tuple[FoldResult, ...]
    options: dict[str, str]
    transactions: int
    frauds: int
    currency: str
    currencies: pl.DataFrame
    warnings: dict[str, int] = field(default_factory=dict)
    columns_used: tuple[str, ...] = ()
