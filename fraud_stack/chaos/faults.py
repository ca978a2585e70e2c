"""The table of faults: what is broken, how, and what the system must do about it."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from fraud_core.timestamps import SECOND_MS, parse_rfc3339_ms
from fraud_io.errors import OperatorError
from fraud_io.folders import Lake
from fraud_io.json_lines import JsonLines
from fraud_stack.chaos.system import NotPossibleError, System

_LONGEST_DRAIN_S = 120.0
_SHORT_FLOOD_S = 3.0


@dataclass(frozen=True)
class Fault:
    """``strike`` breaks something; then the clock of ``recovered_after_s`` runs. ``heal`` is what an operator, or time,
    does about it; it also checks the visible recovery."""

    name: str
    what: str
    recovery: str
    strike: Callable[[System, random.Random], None]
    heal: Callable[[System], None] = lambda system: None


def _kill(service: str) -> Callable[[System, random.Random], None]:
    return lambda system, rng: system.signal(service, SIGKILL)


def _kill_java(system: System, rng: random.Random) -> None:
    children = system.children("stream", "java")
    if not children:
        raise NotPossibleError("the job has no Java process at this moment")
    rng.choice(children).kill()


def _kill_a_lane(system: System, rng: random.Random) -> None:
    """Under a backlog: only large micro-batches are shared out, and the first of them starts the process."""
    if system.settings.stream_lanes == 1:
        raise NotPossibleError("the job shares nothing out: FRAUD_STREAM_LANES is 1")
    if not system.children("stream", "spawn_main"):
        seen = len(system.log("stream"))
        system.load.flood(_SHORT_FLOOD_S, lambda: system.answers.count)
        system.wait_until(lambda: "ready to decide" in system.log("stream")[seen:], "the job starts no other process")
    system.load.flood(_SHORT_FLOOD_S, lambda: system.answers.count)
    system.seen_of_log = len(system.log("stream"))
    rng.choice(system.children("stream", "spawn_main")).kill()


def _see_its_part_decided(system: System) -> None:
    system.load.flood(_SHORT_FLOOD_S, lambda: system.answers.count)
    system.wait_until(
        lambda: "decided by the job's own process" in system.log("stream")[system.seen_of_log :],
        "the job does not notice that the process was killed",
    )


def _pause(service: str) -> Callable[[System, random.Random], None]:
    return lambda system, rng: system.signal_all(service, SIGSTOP)


def _go_on(service: str) -> Callable[[System], None]:
    def heal(system: System) -> None:
        time.sleep(system.hold_s)
        system.signal_all(service, SIGCONT)

    return heal


def _wipe_store(system: System, rng: random.Random) -> None:
    system.stop("store")
    system.wipe("store")


def _start_store_and_see_it_rebuilt(system: System) -> None:
    seen = len(system.log("stream"))
    system.start("store")
    system.wait_until(lambda: "are rebuilt" in system.log("stream")[seen:], "the histories were not rebuilt")


def _die_after_the_sink(system: System, rng: random.Random) -> None:
    armed = system.arm("after_sink")
    system.wait_until(lambda: not armed.exists(), "no micro-batch came to its end")


def _die_before_loading_a_new_model(system: System, rng: random.Random) -> None:
    armed = system.arm("before_model_load")
    system.promote_a_model(rng.randrange(1_000_000))
    system.wait_until(lambda: not armed.exists(), "the job did not look for the promoted model")


def _see_the_new_model_decide(system: System) -> None:
    system.wait_until(lambda: system.answers.model_version == system.champion, "the promoted model decides nothing")


def _promote(system: System, rng: random.Random) -> None:
    system.promote_a_model(rng.randrange(1_000_000))


def _note_when_it_decides(system: System) -> None:
    _see_the_new_model_decide(system)
    moves = JsonLines(Lake(system.settings.lake).promotions).entries()
    moved = next(move["at"] for move in moves if (move["version"], move["to"]) == (system.champion, "Production"))
    seconds = (system.answers.decided_from_ms[system.champion] - parse_rfc3339_ms(moved)) / SECOND_MS
    system.notes.setdefault("promotion", {"decides_after_s": []})["decides_after_s"].append(round(seconds, 2))


def _fill_the_checkpoint_disk(system: System, rng: random.Random) -> None:
    if not system.has_checkpoint_disk:
        raise NotPossibleError("a full disk needs a small one, and only root may mount it")
    with _ballast(system).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:  # it is full, which is the point
            pass


def _free_the_checkpoint_disk(system: System) -> None:
    time.sleep(system.hold_s)
    _ballast(system).unlink()
    if system.is_given_up("stream"):
        system.start("stream")


def _ballast(system: System) -> Path:
    return system.settings.checkpoint / "ballast"


def _truncate_the_checkpoint(system: System, rng: random.Random) -> None:
    """As a power cut leaves it: the newest file of one kind lacks its end, and the job is gone."""
    system.signal_all("stream", SIGSTOP)
    folder = system.settings.checkpoint / rng.choice(("offsets", "commits"))
    newest = max((file for file in folder.iterdir() if file.name.isdecimal()), key=lambda file: int(file.name))
    os.truncate(newest, rng.randrange(newest.stat().st_size))
    system.truncated = newest
    system.signal_all("stream", SIGKILL)


def _see_it_refused_and_repair_it(system: System) -> None:
    system.wait_until(lambda: system.is_given_up("stream"), "the job does not refuse a truncated checkpoint")
    last = system.log("stream").strip().splitlines()[-1]
    if "refused" not in last or str(system.truncated) not in last:
        raise OperatorError(f"the refusal of a truncated checkpoint does not name {system.truncated}: {last}")
    system.module("streaming.commands.repair")
    system.start("stream")


def _flood(system: System, rng: random.Random) -> None:
    before_mib, decided, began = system.memory_mib("stream"), system.answers.count, time.monotonic()
    sent = system.load.flood(system.hold_s, lambda: system.answers.count)
    seconds, decided = time.monotonic() - began, system.answers.count - decided
    system.notes["overload"] = {
        "seconds": round(seconds, 1),
        "sent_per_s": round(sent / seconds),
        "decided_per_s": round(decided / seconds),
        "lag": sent - decided,
        "memory_mib": {"before": round(before_mib), "flooded": round(system.memory_mib("stream"))},
    }


def _watch_it_drain(system: System) -> None:
    note, decided, began = system.notes["overload"], system.answers.count, time.monotonic()
    system.answers.wait(_LONGEST_DRAIN_S)
    note["drained_per_s"] = round((system.answers.count - decided) / (time.monotonic() - began))
    note["memory_mib"]["drained"] = round(system.memory_mib("stream"))


FAULTS = (
    Fault(
        "driver-kill",
        "kill -9 of the Python process that drives Spark and scores",
        "started again; the last micro-batch is decided again with the same bytes",
        _kill("stream"),
    ),
    Fault(
        "java-kill",
        "kill -9 of Spark's Java process",
        "the job ends, is started again, decides the last micro-batch again",
        _kill_java,
    ),
    Fault(
        "python-worker-kill",
        "kill -9 of a process that decides a part of a large micro-batch",
        "the job decides that part itself, with the same bytes, and starts another process",
        _kill_a_lane,
        _see_its_part_decided,
    ),
    Fault("broker-kill", "kill -9 of the broker", "the job waits or is started again, and goes on", _kill("kafka")),
    Fault(
        "store-kill",
        "kill -9 of Valkey, started again with its append-only file",
        "the job waits; what the file lacks is rebuilt from the topic",
        _kill("store"),
    ),
    Fault(
        "store-wipe",
        "Valkey loses all its data",
        "the job notices and rebuilds the histories from the topic",
        _wipe_store,
        _start_store_and_see_it_rebuilt,
    ),
    Fault("mlflow-kill", "kill -9 of MLflow", "the last good model serves without a pause", _kill("mlflow")),
    Fault(
        "job-pause", "SIGSTOP of the job, Java included", "it goes on where it was", _pause("stream"), _go_on("stream")
    ),
    Fault("broker-pause", "SIGSTOP of the broker", "the job waits and goes on", _pause("kafka"), _go_on("kafka")),
    Fault(
        "kill-after-sink",
        "the job dies when Kafka has the predictions and Spark has not committed",
        "the micro-batch is decided again with the same bytes",
        _die_after_the_sink,
    ),
    Fault(
        "kill-before-model-load",
        "the job dies when it knows of a promoted model and has not fetched it",
        "started again, it takes the new model up",
        _die_before_loading_a_new_model,
        _see_the_new_model_decide,
    ),
    Fault(
        "promotion",
        "none: another model is put into Production",
        "it decides within seconds, and nothing waits for it",
        _promote,
        _note_when_it_decides,
    ),
    Fault(
        "disk-full",
        "the disk of the checkpoint is full for a while",
        "no micro-batch is committed meanwhile; the job goes on when there is room",
        _fill_the_checkpoint_disk,
        _free_the_checkpoint_disk,
    ),
    Fault(
        "checkpoint-truncated",
        "the newest file of the checkpoint lacks its end",
        "the job refuses and names it; ./run repair, and it goes on",
        _truncate_the_checkpoint,
        _see_it_refused_and_repair_it,
    ),
    Fault(
        "overload",
        "twice as many payments as the job decides, on top of a backlog",
        "the lag drains, memory stays",
        _flood,
        _watch_it_drain,
    ),
)
