"""The record of live quality: what is stored of each measurement of the models in use."""

from dataclasses import dataclass

from fraud_core.evaluation.decision_quality import Estimate
from fraud_core.evaluation.intervals import METRICS
from fraud_core.money import minor_units, to_major_units
from fraud_core.monitoring.cbpe import Expected

_LATER_DAYS = (14, 30)
_COUNTS = ("transactions", "flagged", "frauds", "caught")


@dataclass(frozen=True)
class Cohort:
    """Transactions that one version decided, with event time in [from_ms, until_ms), judged at an age.

    frauds, caught : by labels. Amounts in minor units of ``currency``, of the payments with an exchange rate;
    ``without_rate`` are the others.
    The figures are None where undefined: only one class, nothing flagged, nothing reviewed.
    recall counts known frauds only; recall_by_review also an estimate of the unreported ones.
    expected : estimated from the scores at decision time, without labels.
    """

    model_version: str
    maturity_days: int
    from_ms: int
    until_ms: int
    transactions: int
    flagged: int
    frauds: int
    caught: int
    caught_minor: int
    missed_minor: int
    precision: Estimate | None
    recall: Estimate | None
    f2: Estimate | None
    average_precision: Estimate | None
    recall_by_review: Estimate | None
    card_precision_at_100: float | None
    expected: Expected
    currency: str
    without_rate: int

    def error(self, metric: str) -> float | None:
        """The label-free estimate less the measured precision, recall, f2 or average_precision."""
        measured, expected = getattr(self, metric), getattr(self.expected, metric)
        return None if measured is None or expected is None else expected - measured.value

    def numbers(self) -> dict[str, float]:
        """Measured and expected figures and their differences, by name; undefined ones are left out."""
        found: dict[str, float | None] = {name: getattr(self, name) for name in _COUNTS}
        units = minor_units(self.currency)
        found["value_caught"] = to_major_units(self.caught_minor, units)
        found["value_missed"] = to_major_units(self.missed_minor, units)
        found["transactions_without_rate"] = self.without_rate
        found["card_precision_100"] = self.card_precision_at_100
        for name in (*METRICS, "recall_by_review"):
            figure = getattr(self, name)
            if figure is not None:
                found |= figure.named(name)
        for name in METRICS:
            found[f"expected_{name}"] = getattr(self.expected, name)
            found[f"error_of_expected_{name}"] = self.error(name)
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class LiveQuality:
    """cohorts : by version, the present champion last, and by age. as_of_ms : the newest time known then."""

    as_of_ms: int
    cohorts: tuple[Cohort, ...]

    def of(self, model_version: str, maturity_days: int) -> Cohort | None:
        """None while no decision of the version has that age."""
        at = (model_version, maturity_days)
        return next((cohort for cohort in self.cohorts if (cohort.model_version, cohort.maturity_days) == at), None)

    def newest(self) -> Cohort | None:
        """The youngest cohort of the last champion that has one."""
        last = self.cohorts[-1].model_version if self.cohorts else None
        return next((cohort for cohort in self.cohorts if cohort.model_version == last), None)


def maturities(label_delay_days: int) -> tuple[int, ...]:
    """Ages at which decisions are judged: the label delay, when labels become mature, and later ones.

    >>> maturities(7)
    (7, 14, 30)
    """
    return (label_delay_days, *(days for days in _LATER_DAYS if days > label_delay_days))
