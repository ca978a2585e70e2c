"""How good decisions were once the truth is known: figures of what was flagged, with intervals over resampled cards.

The bootstrap draws cards, as in ``ranking``. All figures come from sums per card, so the cost of a resample is one
product of weights and sums, however many transactions there are.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_core.evaluation.comparison import PairedGain
from fraud_core.evaluation.ranking import card_resamples, require_both_classes


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval.

    low, high : 5 to 95 % over resampled cards. All three are NaN where the figure is undefined.
    """

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """The figure and its bounds, as ``name``, ``name``_low and ``name``_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def __str__(self) -> str:
        """
        >>> str(Estimate(0.5, 0.25, 0.75))
        '0.5000 (0.2500 to 0.7500)'
        """
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class DecisionQuality:
    """Counts, amounts in minor units of the currency of the features (payments without a rate left out), and shares.

    alert_rate : flagged share of the transactions. value_caught : flagged share of the frauds' amount.
    """

    transactions: int
    flagged: int
    frauds: int
    caught: int
    fraud_minor: int
    caught_minor: int
    precision: Estimate
    recall: Estimate
    f2: Estimate
    alert_rate: Estimate
    value_caught: Estimate

    def shares(self) -> dict[str, Estimate]:
        """Figures with an interval, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Estimate)}

    @property
    def missed_minor(self) -> int:
        return self.fraud_minor - self.caught_minor


def decision_quality(
    rows: pl.DataFrame, is_flagged: np.ndarray, *, resamples: int = 500, seed: int = 7
) -> DecisionQuality:
    """rows : user_id, is_fraud Boolean without nulls, value_minor (null without a rate). is_flagged : (n,) bool, of the
    same rows.

    ValueError for rows of one class.
    """
    cards = _by_card(rows, is_flagged)
    drawn = np.vstack([cards.sum(axis=0), _resampled(cards, resamples, seed)])
    transactions, frauds, fraud_minor, flagged, caught, caught_minor = drawn.T
    return DecisionQuality(
        transactions=int(transactions[0]),
        flagged=int(flagged[0]),
        frauds=int(frauds[0]),
        caught=int(caught[0]),
        fraud_minor=int(fraud_minor[0]),
        caught_minor=int(caught_minor[0]),
        precision=_estimate(_share(caught, flagged)),
        recall=_estimate(_share(caught, frauds)),
        f2=_estimate(_f2(caught, flagged, frauds)),
        alert_rate=_estimate(_share(flagged, transactions)),
        value_caught=_estimate(_share(caught_minor, fraud_minor)),
    )


def paired_f2(
    rows: pl.DataFrame, is_flagged: np.ndarray, other_flagged: np.ndarray, *, resamples: int = 500, seed: int = 7
) -> PairedGain:
    """Gain in F2 of one model's decisions over another's on the same rows; arguments as in ``decision_quality``."""
    cards = _by_card(rows, is_flagged, other_flagged)
    drawn = np.vstack([cards.sum(axis=0), _resampled(cards, resamples, seed)])
    _, frauds, _, flagged, caught, _, others_flagged, others_caught, _ = drawn.T
    f2, other = _f2(caught, flagged, frauds), _f2(others_caught, others_flagged, frauds)
    return PairedGain.of(f2[0], other[0], (f2 - other)[1:])


def _by_card(rows: pl.DataFrame, *flags: np.ndarray) -> np.ndarray:
    """A row per card: transactions, frauds, their amount; then for each of ``flags``: flagged, caught, their amount."""
    require_both_classes(rows["is_fraud"].to_numpy())
    cents, is_fraud = pl.col("value_minor"), pl.col("is_fraud")
    sums = [pl.len(), is_fraud.sum(), (cents * is_fraud).sum().alias("fraud_minor")]
    for number, flag in enumerate(flags):
        flagged = pl.lit(pl.Series(np.asarray(flag, dtype=bool)))
        of_both = {"flagged": flagged, "caught": flagged & is_fraud, "caught_minor": cents * (flagged & is_fraud)}
        rows = rows.with_columns(**{f"{name}_{number}": column for name, column in of_both.items()})
        sums += [pl.col(f"{name}_{number}").sum() for name in of_both]
    return rows.group_by("user_id").agg(sums).sort("user_id").drop("user_id").to_numpy().astype(np.float64)


def _resampled(cards: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, columns): the sums of each draw of cards."""
    ids = pl.Series(np.arange(len(cards)))
    return np.array([weights @ cards for weights in card_resamples(ids, cards[:, 1] > 0, resamples, seed)])


def _share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    shares = np.full(len(part), np.nan)
    np.divide(part, total, out=shares, where=total > 0)
    return shares


def _f2(caught: NDArray[np.float64], flagged: NDArray[np.float64], frauds: NDArray[np.float64]) -> np.ndarray:
    return 5 * caught / (4 * frauds + flagged)


def _estimate(drawn: np.ndarray) -> Estimate:
    """drawn : the figure itself, then that of each resample; resamples where it is undefined are left out."""
    defined = drawn[1:][~np.isnan(drawn[1:])]
    low, high = np.quantile(defined, (0.05, 0.95)) if len(defined) else (np.nan, np.nan)
    return Estimate(*(float(bound) for bound in (drawn[0], low, high)))
