"""``./run bench overload``: twice as many payments as the job decides. Does the lag drain, does memory stay?"""

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.streaming.inputs import Inputs, Record
from benchmarks.streaming.load import Load
from benchmarks.streaming.scene import Scene, scene
from fraud_stack.ledger import take_ledger
from fraud_stack.services.processes import memory_mib, with_children

app = typer.Typer(add_completion=False)

_DAYS = 20
_HEAD_START = 100_000  # more than two micro-batches: the job is never without a backlog
_AT_ONCE = 20_000
_TELL_EVERY_S = 10.0
_ID, _DATE = b'"transaction_id":"', b'"timestamp":"'
# Long enough ago that the days of a run do not reach the present.
_FIRST_DAY = datetime(2015, 1, 1, tzinfo=UTC)


@dataclass
class Sample:
    """At ``seconds`` since the flood began. memory_mib : of the job with its child processes."""

    seconds: float
    sent: int
    decided: int
    memory_mib: int

    @property
    def lag(self) -> int:
        return self.sent - self.decided


@dataclass
class Overload:
    """What happened, sample by sample. ``flooded_s``: when the flood ended; ``drained_s``: when all was decided."""

    samples: list[Sample] = field(default_factory=list)
    flooded_s: float = 0.0
    drained_s: float = 0.0

    def rates(self) -> dict[str, int]:
        """Payments a second: sent and decided during the flood, and decided after it."""
        last = max((at for at in self.samples if at.seconds <= self.flooded_s), key=lambda at: at.seconds)
        after = self.samples[-1].decided - last.decided
        return {
            "sent_per_s": round(last.sent / last.seconds),
            "decided_per_s": round(last.decided / last.seconds),
            "drained_per_s": round(after / (self.drained_s - last.seconds)),
        }


@app.command()
def main(
    minutes: Annotated[float, typer.Option(min=0.2, help="How long the flood lasts.")] = 5.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Send twice what is decided meanwhile, then wait until the lag is gone, and balance the books."""
    with tempfile.TemporaryDirectory(prefix="fraud-bench-") as folder:
        trained = Path(folder) / "inputs"
        trained.mkdir()
        inputs = Inputs(days=_DAYS)
        inputs.train(trained)
        with scene("job", trained, trained.parent) as playing:
            load = Load(playing, repeated(inputs.history))
            load.warm_up(len(inputs.history))
            print("warm", flush=True)
            overload = flood(playing, load, minutes * 60)
            ledger = take_ledger(playing.settings)
    figures = overload.rates() | {"ledger": asdict(ledger) | {"is_balanced": ledger.is_balanced}}
    print(json.dumps(figures))
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(overload) | figures) + "\n")


def flood(playing: Scene, load: Load, seconds: float) -> Overload:
    found, began, before, sent = Overload(), time.monotonic(), sum(load.answered().values()), 0
    told_s = 0.0

    def look() -> int:
        nonlocal told_s
        decided, now_s = sum(load.answered().values()) - before, time.monotonic() - began
        if now_s - told_s >= _TELL_EVERY_S or decided == sent:
            told_s = now_s
            memory = round(memory_mib(with_children(playing.process.pid)))
            found.samples.append(at := Sample(round(now_s, 1), sent, decided, memory))
            print(f"{now_s:6.0f} s  sent {sent:,}  decided {decided:,}  lag {at.lag:,}  {memory} MiB", flush=True)
        return decided

    while time.monotonic() - began < seconds:
        due = 2 * look() + _HEAD_START - sent
        if due > 0:
            load.burst(min(due, _AT_ONCE))
            sent += min(due, _AT_ONCE)
        else:
            time.sleep(0.1)
    found.flooded_s = round(time.monotonic() - began, 1)
    while look() < sent:
        playing.check_alive()
        time.sleep(0.2)
    found.drained_s = round(time.monotonic() - began, 1)
    return found


def repeated(history: list[Record]) -> Iterator[Record]:
    """The same days again and again, each time later and with other ids: no simulator is as fast as a flood."""
    parts = [(key, *_parts(value)) for key, value in history]
    for cycle in count():
        start = _FIRST_DAY + timedelta(days=_DAYS * cycle)
        dates = [(start + timedelta(days=day)).strftime("%Y-%m-%d").encode() for day in range(_DAYS)]
        days = dict(zip(sorted({date for *_, date, _ in parts}), dates, strict=True))
        for key, head, middle, date, tail in parts:
            yield key, b"%b%d-%b%b%b" % (head, cycle, middle, days[date], tail)


def _parts(value: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Up to the id, from there to the date, the date, and what follows it."""
    at = value.index(_ID) + len(_ID)
    begin = value.index(_DATE) + len(_DATE)
    return value[:at], value[at:begin], value[begin : begin + 10], value[begin + 10 :]


if __name__ == "__main__":
    app()
