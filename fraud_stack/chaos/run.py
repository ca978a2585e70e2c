"""``./run chaos``: a stack of its own under a seeded load, faults one after another, then the books."""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fraud_core.timestamps import now_ms
from fraud_io.errors import OperatorError
from fraud_stack.chaos.answers import Answers
from fraud_stack.chaos.faults import FAULTS, Fault
from fraud_stack.chaos.load import RATE, Load
from fraud_stack.chaos.report import Struck, to_dict
from fraud_stack.chaos.system import SERVICES, NotPossibleError, System, checkpoint_disk, take_environment
from fraud_stack.chaos.verdict import ChaosVerdict, reach_verdict
from fraud_stack.services.memory import MemoryPeak
from fraud_stack.services.stack import Stack
from fraud_stack.steps import Steps

_LONGEST_HOLD_S = 30.0
_RECOVERY_S = 180.0
_FIRST_ANSWER_S = 60.0


@dataclass(frozen=True)
class ChaosOptions:
    """``faults``: names; none means all of the table."""

    seed: int
    minutes: float
    faults: Sequence[str]
    json_file: Path | None


def run_chaos(options: ChaosOptions) -> None:
    """Raises OperatorError when a fault was not recovered from or the books do not balance; the data is kept then."""
    if options.json_file is not None and not options.json_file.absolute().parent.is_dir():
        raise OperatorError(f"the folder of {options.json_file} does not exist: make it first")
    rng = Random(options.seed)
    faults = _chosen(options.faults)
    rng.shuffle(faults)
    home = Path(tempfile.mkdtemp(prefix="fraud-chaos-"))
    settings, steps = take_environment(home), Steps()
    stack = Stack(settings, steps.show)
    with checkpoint_disk(settings) as has_disk, stack.lock():
        try:
            with steps.step("services", f"Start {', '.join(SERVICES)} in {home}"):
                stack.up(SERVICES)
            seconds = options.minutes * 60
            load = Load(settings, options.seed, seconds)
            with load, Answers(settings) as answers, MemoryPeak(home) as memory:
                system = System(settings, load, answers, min(_LONGEST_HOLD_S, seconds / len(faults)), has_disk)
                with steps.step("model", "Put a model into Production and wait for its first decision"):
                    system.promote_a_model(options.seed)
                    system.wait_until(lambda: answers.model_version == system.champion, "the model decides nothing")
                with steps.step(
                    "faults", f"{RATE} payments a second for {options.minutes:g} minutes, {len(faults)} faults"
                ):
                    struck = _strike_all(system, faults, rng, seconds, steps)
                load.finish()
            with steps.step("books", "Balance the books and recompute every feature"):
                verdict = reach_verdict(settings, load)
        finally:
            stack.down()
    _show(steps, struck, verdict)
    if options.json_file is not None:
        report = to_dict(options.seed, options.minutes, verdict, struck, load, system, memory)
        options.json_file.write_text(json.dumps(report, indent=2) + "\n")
    lasting = [fault.name for fault in struck if fault.is_lasting]
    if lasting or not verdict.is_good:
        raise OperatorError(f"{'; '.join(lasting) or 'the books'}: failed, see above; logs and topics are in {home}")
    shutil.rmtree(home)


def _chosen(names: Sequence[str]) -> list[Fault]:
    known = {fault.name: fault for fault in FAULTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OperatorError(f"no fault is called {unknown[0]}: there are {', '.join(known)}")
    return [known[name] for name in names] or list(FAULTS)


def _strike_all(system: System, faults: Sequence[Fault], rng: Random, seconds: float, steps: Steps) -> list[Struck]:
    """One fault after the other, each at a random moment of its share of the time, or once the last one has ended."""
    began, slot_s, struck = time.monotonic(), seconds / len(faults), []
    for number, fault in enumerate(faults):
        _sleep_until(began + slot_s * number + rng.uniform(0, slot_s / 2))
        struck.append(_strike(system, fault, rng, round(time.monotonic() - began, 1)))
        steps.show(struck[-1].line())
    _sleep_until(began + seconds)
    return struck


def _strike(system: System, fault: Fault, rng: Random, at_s: float) -> Struck:
    try:
        fault.strike(system, rng)
        struck_ms = now_ms()
        system.answers.expect(struck_ms)
        fault.heal(system)
    except NotPossibleError as reason:
        return Struck(fault.name, at_s, None, str(reason))
    except OperatorError as error:
        return Struck(fault.name, at_s, None, None, str(error))
    answered_ms = system.answers.wait(_RECOVERY_S)
    if answered_ms is None:
        return Struck(fault.name, at_s, None, None, f"no answer within {_RECOVERY_S:.0f} s")
    return Struck(fault.name, at_s, round((answered_ms - struck_ms) / 1000, 2))


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _show(steps: Steps, struck: Sequence[Struck], verdict: ChaosVerdict) -> None:
    ledger = verdict.ledger
    steps.show(f"{ledger.produced:,} produced, {ledger.predicted:,} decided, {ledger.dead_lettered:,} dead letters")
    steps.show(f"{ledger.lost} lost, {ledger.duplicates} decided again after a crash")
    steps.show(f"{verdict.features_differing} predictions with features that differ from a clean run's")
    steps.show(f"{verdict.misjudged} of the bad messages decided or of the good ones refused")
    steps.show(f"{sum(fault.recovered_after_s is not None for fault in struck)} of {len(struck)} faults recovered from")
