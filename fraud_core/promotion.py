"""Which stage a model may enter: the gate a candidate passes before Staging, and what may follow.

Pure rules over scores. Whoever calls them moves the registry and writes the promotion log, with the reasons given here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from fraud_core.comparison import paired_gain
from fraud_core.ranking import Ranking, average_precision

Stage = Literal["None", "Staging", "Production"]

# Of the way from a random order (AP = base rate) to a perfect one (AP = 1), a candidate must have gone this share.
AP_MARGIN = 0.05


@dataclass(frozen=True)
class GateResult:
    """passed : every rule holds. reasons : one sentence a rule that was judged. figures : the numbers behind them."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


@dataclass(frozen=True)
class Promotion:
    """The stage a candidate goes to, and why."""

    stage: Stage
    reason: str


def offline_gate(
    is_fraud: np.ndarray,
    user_ids: pl.Series,
    candidate_scores: np.ndarray,
    candidate_threshold: float,
    champion_scores: np.ndarray | None = None,
    *,
    resamples: int = 500,
    seed: int = 7,
) -> GateResult:
    """None -> Staging: is the candidate sane, better than chance, and not worse than the champion?

    All arrays (n,), of the same test rows in the same order, later than anything either model was trained on.
    Rules: scores finite and not all equal; 0 < threshold < 1 and reached by a score; AP - base rate >= AP_MARGIN x
    (1 - base rate); and, with a champion, the candidate's AP not lower in 95 % of the resamples of ``paired_gain``. A
    retrained model is often only as good as the last one, and must be let through to follow the times: whether it is
    better is for the shadow comparison to say. ValueError for rows of one class.
    """
    sane = [
        (bool(np.isfinite(candidate_scores).all()), "all scores are finite"),
        (len(np.unique(candidate_scores)) > 1, "scores differ between transactions"),
        (0 < candidate_threshold < 1, f"the threshold {candidate_threshold:.4g} lies between 0 and 1"),
        (not (candidate_scores < candidate_threshold).all(), "some score reaches the threshold"),
    ]
    if not all(holds for holds, _ in sane):
        return _result(sane, {})
    candidate = Ranking.of(is_fraud, candidate_scores)
    base_rate = float(np.mean(is_fraud))
    candidate_ap = average_precision(*candidate.counts())
    figures = {"base_rate": base_rate, "candidate_average_precision": candidate_ap}
    floor = base_rate + AP_MARGIN * (1 - base_rate)
    rules = [*sane, (candidate_ap >= floor, f"average precision {candidate_ap:.4f} reaches the floor of {floor:.4f}")]
    if champion_scores is None:
        return _result(rules, figures)

    compared = paired_gain(is_fraud, user_ids, candidate_scores, champion_scores, resamples=resamples, seed=seed)
    figures |= {
        "champion_average_precision": compared.other_average_precision,
        "average_precision_gain": compared.gain,
        "average_precision_gain_low": compared.low,
        "average_precision_gain_high": compared.high,
    }
    not_worse = (
        f"average precision is not worse than the champion's {compared.other_average_precision:.4f} on the same rows "
        f"(gain {compared.gain:+.4f}, 5 to 95 %: {compared.low:+.4f} to {compared.high:+.4f})"
    )
    return _result([*rules, (compared.high >= 0, not_worse)], figures)


def next_stage(gate: GateResult, *, has_champion: bool) -> Promotion:
    """Where a candidate goes after the offline gate.

    The first model goes to Production: nothing better is there. Later ones wait in Staging, where the stream scores
    them beside the champion; only that comparison may replace it.
    """
    if not gate.passed:
        return Promotion("None", "offline gate failed: " + "; ".join(gate.reasons))
    if has_champion:
        return Promotion("Staging", "passed the offline gate; waits for the shadow comparison with the champion")
    return Promotion("Production", "passed the offline gate, and there is no model in Production yet")


def _result(rules: list[tuple[bool, str]], figures: dict[str, float]) -> GateResult:
    failed = tuple(f"not so: {rule}" for holds, rule in rules if not holds)
    return GateResult(not failed, failed or tuple(rule for _, rule in rules), figures)
