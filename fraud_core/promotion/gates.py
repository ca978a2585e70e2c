"""Which stage a model may enter: the gate a candidate passes before Staging, and the one before Production.

Pure rules over scores and decisions. The caller moves the version in the registry and writes the promotion log, with
the reasons given here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from fraud_core.evaluation.comparison import paired_gain
from fraud_core.evaluation.decision_quality import paired_f2
from fraud_core.evaluation.ranking import Ranking, average_precision

CandidateStage = Literal["None", "Staging", "Production"]

# The share of the way from a random order (AP = base rate) to a perfect one (AP = 1) that a candidate must reach.
AP_MARGIN = 0.05

# The non-inferiority margin: a challenger may replace the champion when, with 95 % certainty, it is at most this much
# worse in average precision and in the F2 of its decisions. docs/adr/0012 measures what it lets through.
NOT_WORSE_BY = 0.05
LEAST_FRAUDS = 50
LEAST_FRAUD_CARDS = 20

# How long beyond the label delay a challenger keeps its place in Staging while labels come in.
TRIAL_DAYS = 14


@dataclass(frozen=True)
class GateResult:
    """passed : every rule holds. reasons : one sentence per rule judged. figures : the numbers behind them."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


@dataclass(frozen=True)
class Promotion:
    """The stage a candidate goes to, and why."""

    stage: CandidateStage
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The action that the evidence supports; "wait" is for more of it. reasons : sentences. figures : their numbers."""

    action: Literal["promote", "archive", "roll back", "wait"]
    reasons: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """The challenger that the stream scores beside the champion, and for how many days it has done so."""

    version: str
    days: float


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
    retrained model is often only as good as the last one and must still pass, to keep up with new fraud; whether it is
    better is decided by the shadow comparison. ValueError for rows of one class.
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
        "champion_average_precision": compared.other,
        **compared.gain_named("average_precision_gain"),
    }
    not_worse = f"average precision is not worse than the champion's on the same rows ({compared})"
    return _result([*rules, (compared.high >= 0, not_worse)], figures)


def next_stage(
    gate: GateResult, *, has_champion: bool, trial: Trial | None = None, label_delay_days: int = 0
) -> Promotion:
    """Where a candidate goes after the offline gate.

    The first model goes to Production, because there is no other. Later ones wait in Staging, where the stream scores
    them beside the champion; only that comparison may replace it. ``trial``, of another version, is not cut short: a
    challenger replaced every day would be gone before the labels of the payments it scored mature.
    """
    if not gate.passed:
        return Promotion("None", "offline gate failed: " + "; ".join(gate.reasons))
    if has_champion and trial is not None and trial.days < label_delay_days + TRIAL_DAYS:
        return Promotion(
            "None",
            f"passed the offline gate, but version {trial.version} is on trial in Staging for {trial.days:.1f} of "
            f"{label_delay_days + TRIAL_DAYS} days",
        )
    if has_champion:
        return Promotion("Staging", "passed the offline gate; waits for the shadow comparison with the champion")
    return Promotion("Production", "passed the offline gate, and there is no model in Production yet")


def shadow_gate(pairs: pl.DataFrame, blocked_by: Sequence[str] = (), *, resamples: int = 500, seed: int = 7) -> Verdict:
    """Staging -> Production: is the challenger non-inferior on payments that both scored and whose labels are mature?

    pairs : as shadow.matured gives them of shadow.served_pairs. blocked_by : sentences; with any, nothing is decided.
    Average precision and the F2 of the decisions are compared over the same draws of cards. "promote": at the 5 % bound
    of the gain, neither is lower by more than NOT_WORSE_BY. "archive": at the 95 % bound, one is lower. "wait": neither
    is certain, or there are fewer than LEAST_FRAUDS frauds of LEAST_FRAUD_CARDS cards.
    """
    frauds = pairs.filter("is_fraud")
    cards = frauds["user_id"].n_unique()
    figures: dict[str, float] = {"pairs": pairs.height, "frauds": frauds.height, "defrauded_cards": cards}
    counted = f"{frauds.height} frauds of {cards} cards are among {pairs.height:,} payments that both models scored"
    if blocked_by:
        return Verdict("wait", tuple(f"promotion is blocked: {reason}" for reason in blocked_by), figures)
    if frauds.height < LEAST_FRAUDS or cards < LEAST_FRAUD_CARDS or frauds.height == pairs.height:
        needed = f"{LEAST_FRAUDS} frauds of {LEAST_FRAUD_CARDS} cards beside genuine payments are needed"
        return Verdict("wait", (f"{counted}; {needed}",), figures)

    columns = ("challenger_score", "champion_score", "challenger_flagged", "champion_flagged")
    score, champion_score, flagged, champion_flagged = (pairs[name].to_numpy() for name in columns)
    draws = {"resamples": resamples, "seed": seed}
    gains = {
        "average precision": paired_gain(
            pairs["is_fraud"].to_numpy(), pairs["user_id"], score, champion_score, **draws
        ),
        "F2 of the decisions": paired_f2(pairs, flagged, champion_flagged, **draws),
    }
    for name, gain in gains.items():
        key = name.lower().replace(" ", "_")
        figures |= {f"challenger_{key}": gain.value, f"champion_{key}": gain.other, **gain.gain_named(f"{key}_gain")}
    worse = [f"{name} is worse than the champion's: {gain}" for name, gain in gains.items() if gain.high < 0]
    if worse:
        return Verdict("archive", (counted, *worse), figures)
    unsure = [
        f"{name} may be worse than the champion's by more than {NOT_WORSE_BY}: {gain}"
        for name, gain in gains.items()
        if gain.low < -NOT_WORSE_BY
    ]
    if unsure:
        return Verdict("wait", (counted, *unsure), figures)
    sure = [f"{name} is not worse than the champion's by {NOT_WORSE_BY}: {gain}" for name, gain in gains.items()]
    return Verdict("promote", (counted, *sure), figures)


def _result(rules: list[tuple[bool, str]], figures: dict[str, float]) -> GateResult:
    failed = tuple(f"not so: {rule}" for holds, rule in rules if not holds)
    return GateResult(not failed, failed or tuple(rule for _, rule in rules), figures)
