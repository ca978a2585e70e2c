"""The loop of the demo: a new kind of fraud begins, its labels come, a model learns it, is tried and takes over.

The demo decides nothing: the feedback sensor starts the training, the gates and the comparison of both models on the
same payments promote, the stream follows. The demo only lets time pass, quickly, and reports.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar, cast

from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, iso_date
from fraud_io.dagster_client import DagsterClient
from fraud_io.errors import OperatorError
from fraud_io.model_registry import ModelRegistry
from fraud_stack.demo.new_fraud import NewFraudWatch
from fraud_stack.services.stack import Stack
from fraud_stack.steps import Steps

_DAY_S = 3.0  # how long a day lasts while days must pass
_CALM_DAY_S = 30.0  # and while Dagster works: on a slow machine the clock would otherwise reach the present first
LONGEST_DAYS = 200  # how far the stream's clock may run
_LEARNING_DAYS = 12  # of the new kind, that a training is to see
_LABELS_A_TRANSACTION = 0.02  # reports, verdicts on alerts, and what analysts clear
_MATURE_DAYS = 10  # of payments that both models judged, with their labels
_COMPARISONS = 5
_DECIDED_AFTER = 40  # payments of the new kind
_TIMEOUT_S = 900
_LOOK_S = 0.5
_REPORT_EVERY_S = 10


class NotTakenOverError(OperatorError):
    """All parts did their work, and the new model did not take over: there were too few data for it."""


T = TypeVar("T")


@dataclass(frozen=True)
class LoopResult:
    """The new kind of fraud: how many the stream decided, and the share that each model found. Times in seconds."""

    champion: str
    challenger: str
    decided: int
    recall_of_champion: float
    recall_of_challenger: float
    seconds_to_training: float
    seconds_to_promotion: float


def labels_until_learned(settings: Settings, transactions_a_day: float) -> int:
    """How many new labels have come when a training can have seen enough of a kind of fraud that begins now.

    A training's newest rows are that far back: the labels of test, test, the labels of validation, validation, a gap.
    """
    days = 3 * settings.label_delay_days + settings.validation_days + settings.test_days + _LEARNING_DAYS
    return round(days * transactions_a_day * _LABELS_A_TRANSACTION)


class Loop:
    """Watches the loop close while the simulator lets a new kind of fraud loose.

    champion : what decides now. simulator : sends payments, with days that last so many seconds, while it is entered.
    """

    def __init__(
        self, stack: Stack, steps: Steps, champion: str, simulator: Callable[[float], AbstractContextManager]
    ) -> None:
        self._stack, self._steps, self._champion, self._simulator = stack, steps, champion, simulator
        self._settings = stack.settings
        self._dagster = DagsterClient(stack.settings.dagster_address)
        self._began = time.time()

    def show(self) -> LoopResult:
        """Raises NotTakenOverError, and OperatorError when the sensor starts nothing or the training fails."""
        with NewFraudWatch(self._settings) as watch:
            self._watch = watch
            title = f"A new kind of fraud begins; a day lasts {_DAY_S:.0f} s until its labels have come"
            with self._steps.step("new_fraud", title), self._simulator(_DAY_S):
                run_id = self._until("the feedback sensor to start a training", self._asked_for)
                self._steps.show(f"the feedback sensor has started {self._settings.dagster_address}/runs/{run_id}")
            trained_at = time.time()
            with self._steps.step("retraining", "Train with the new labels"), self._simulator(_CALM_DAY_S):
                self._follow(run_id)
                challenger = self._version(CHALLENGER)
            if challenger is None:
                raise NotTakenOverError(
                    f"no model of the run {run_id} passed the gate to Staging: see its check in Dagster"
                )
            title = f"Score version {challenger} beside version {self._champion}"
            with self._steps.step("shadow", title), self._simulator(_DAY_S):
                self._until("the stream to score both", lambda: self._watch.seen[challenger])
                self._let_days_pass(_MATURE_DAYS + self._settings.label_delay_days)
            with self._steps.step("promotion", "Compare both on the same payments, once labelled"):
                self._compare(challenger)
            promoted_at = time.time()
            with self._steps.step("after", f"Version {challenger} decides"), self._simulator(_DAY_S):
                self._until("it to decide", lambda: self._watch.decided[challenger] >= _DECIDED_AFTER)
            return LoopResult(
                self._champion,
                challenger,
                sum(watch.decided.values()),
                round(cast(float, watch.recall(self._champion)), 3),
                round(cast(float, watch.recall(challenger)), 3),
                round(trained_at - self._began, 1),
                round(promoted_at - self._began, 1),
            )

    def _asked_for(self) -> str | None:
        runs = self._dagster.runs_of_sensor("daily_training", "feedback_sensor", self._began)
        return runs[0] if runs else None

    def _compare(self, challenger: str) -> None:
        """Run the hourly job as of now until it promotes; another day of labels may show what the last ones could
        not."""
        for _ in range(_COMPARISONS):
            yesterday = iso_date((self._watch.day - 1) * DAY_MS)
            with self._simulator(_CALM_DAY_S):
                self._follow(self._dagster.launch("monitoring", yesterday))
            if self._version(CHAMPION) == challenger:
                return
            self._steps.show(f"version {challenger} is not promoted yet: see model_comparison in Dagster")
            with self._simulator(_DAY_S):
                self._let_days_pass(_MATURE_DAYS)
        raise NotTakenOverError(
            f"version {challenger} was not promoted: see the reasons at model_comparison in Dagster"
        )

    def _follow(self, run_id: str) -> None:
        for step in self._dagster.follow(run_id, self._look):
            self._steps.show(f"{step.name:24} {step.seconds:6.1f} s  {step.status.lower()}")

    def _let_days_pass(self, days: int) -> None:
        until = self._watch.day + days
        self._until(f"{days} days", lambda: self._watch.day >= until)

    def _until(self, what: str, look: Callable[[], T | None]) -> T:
        """What ``look`` returns once it is true; meanwhile a line now and then."""
        began = reported_at = time.monotonic()
        while not (found := look()):
            self._look()
            now = time.monotonic()
            if now - reported_at > _REPORT_EVERY_S:
                reported_at = now
                self._steps.show(self._line())
            if now - began > _TIMEOUT_S:
                raise OperatorError(
                    f"waited {_TIMEOUT_S} s for {what}: see ./run logs dagster-daemon and ./run logs stream"
                )
        return found

    def _look(self) -> None:
        self._stack.check_alive()
        self._watch.look(_LOOK_S)

    def _line(self) -> str:
        day = iso_date(self._watch.day * DAY_MS)
        recalls = [f"version {v} finds {self._watch.recall(v):.0%}" for v in sorted(self._watch.seen, key=int)]
        return f"{day}   {sum(self._watch.decided.values())} payments of the new kind   {', '.join(recalls)}"

    def _version(self, role: str) -> str | None:
        return ModelRegistry(self._settings.mlflow_address, self._settings.model_name).aliases().get(role)
