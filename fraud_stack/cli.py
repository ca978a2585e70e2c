"""The ``fraud`` command: one function per command, each importing what it needs only when it is called."""

import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fraud_stack import quarantine, rates

if TYPE_CHECKING:
    from fraud_stack.services.stack import Stack

app = typer.Typer(
    name="fraud",
    help="Real-time card fraud detection: Kafka, Spark Structured Streaming, Dagster, MLflow on this machine.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(quarantine.app, name="labels")
app.add_typer(rates.app, name="rates")
_DATE = {"formats": ["%Y-%m-%d"], "metavar": "YYYY-MM-DD"}
_PASS_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def _print_version(is_asked: bool) -> None:
    """The version of pyproject.toml, which is written nowhere else."""
    if is_asked:
        import tomllib

        from fraud_io.folders import ROOT

        print(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.", envvar="FRAUD_DEBUG")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    _state["debug"] = debug


_state = {"debug": bool(os.environ.get("FRAUD_DEBUG"))}


@app.command()
def demo(
    transactions: Annotated[int, typer.Option(min=1_000, help="Transactions of the history.")] = 300_000,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the live part lasts.")] = 3.0,
    rate: Annotated[float, typer.Option(min=1, help="Live transactions a second.")] = 200.0,
    loop: Annotated[
        bool | None,
        typer.Option(
            help="Then let a new kind of fraud begin, until a model has learned it (default: in a new folder)."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up at the end.")] = False,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the summary to this file.")] = None,
) -> None:
    """Show the whole system: start it, make a history, train the first model, score a live stream."""
    from fraud_core.settings import Settings
    from fraud_stack.demo.run import DemoOptions, run_demo

    run_demo(Settings(), DemoOptions(transactions, minutes, rate, loop, keep, json))


@app.command()
def up(services: Annotated[list[str] | None, typer.Argument(help="Only these (default: all).")] = None) -> None:
    """Start the stack in the background; its state is in FRAUD_HOME (default ./var)."""
    stack = _stack()
    with stack.lock():
        stack.up(services or ())
    print(f"The stack is up, its data is in {stack.home}. See ./run status; stop it with ./run down")


@app.command()
def down() -> None:
    """Stop the stack. Its state stays."""
    stack = _stack()
    with stack.lock():
        was_running = stack.is_running()
        stack.down()
    print(f"The stack in {stack.home} is stopped" if was_running else f"No stack was running in {stack.home}")


@app.command()
def status() -> None:
    """Show each service, and the stream's lag, latency, model and last batch. Fails when a service is down."""
    from fraud_io.errors import OperatorError
    from fraud_stack.stream_status import stream_lines

    stack = _stack()
    rows = stack.status()
    if not rows:
        raise OperatorError(f"no stack is running in {stack.home}: start it with ./run up")
    line = "{:15} {:14} {:>7} {:>10} {:>10}  {}".format
    print(line("service", "state", "pid", "uptime", "memory", "address"))
    for row in rows:
        minutes, seconds = divmod(row.uptime_s, 60)
        uptime, memory = f"{minutes}m {seconds:02}s", f"{row.memory_mib:.0f} MiB"
        print(line(row.name, row.state, *((row.pid, uptime, memory) if row.pid else ("", "", "")), row.address))
    for text in (text for row in rows if row.name == "stream" for text in stream_lines(row.address)):
        print(f"  {text}")
    if not all(row.is_up for row in rows):
        raise typer.Exit(1)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="Name as in ./run status.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
) -> None:
    """Show the log of a service."""
    from fraud_core.settings import Settings
    from fraud_io.errors import OperatorError
    from fraud_stack.paths import log_file

    file = log_file(Settings().home.absolute(), service)
    if not file.exists():
        names = ", ".join(sorted(path.stem for path in file.parent.glob("*.log"))) or "none yet"
        raise OperatorError(f"there is no log of a service called {service} in {file.parent}; there are: {names}")
    tail = ["tail", "-n", "200", *(["-F"] if follow else []), str(file)]
    os.execvp(tail[0], tail)


@app.command(context_settings=_PASS_THROUGH)
def produce(context: typer.Context) -> None:
    """Send simulated live transactions and their labels to Kafka (--help lists the options)."""
    _run_module("streaming.commands.simulate", *([] if context.args[:1] == ["history"] else ["live"]), *context.args)


@app.command(context_settings=_PASS_THROUGH)
def replay(context: typer.Context) -> None:
    """Send your own CSV, JSON Lines or Parquet file through the topics (--help lists the options)."""
    _run_module("streaming.commands.replay", *context.args)


@app.command(context_settings=_PASS_THROUGH)
def check(context: typer.Context) -> None:
    """Say what is in files of your own, what cannot be used and why, and which commands fit. Sends nothing."""
    _run_module("streaming.commands.check", *context.args)


def _days(text: str) -> int:
    number = text.removesuffix("d")
    if not number.isascii() or not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a number of days: write 7d")
    return int(number)


_A_WEEK: Any = "7d"  # typer passes a default through the parser, too


@app.command()
def backtest(
    transactions: Annotated[str, typer.Option(help="CSV, JSON or Parquet file, a folder or address of them.")],
    train_end: Annotated[datetime, typer.Option(help="End of the days that are learned from.", **_DATE)],
    test_start: Annotated[datetime, typer.Option(help="First day that is scored: the day of the training.", **_DATE)],
    test_days: Annotated[int, typer.Option(min=1, help="Days that are scored and judged.")],
    train_days: Annotated[
        int | None, typer.Option(min=1, help="Days up to --train-end (default: FRAUD_TRAINING_WINDOW_DAYS).")
    ] = None,
    label_delay: Annotated[
        int, typer.Option(parser=_days, metavar="DAYS", help="When silence means genuine.")
    ] = _A_WEEK,
    folds: Annotated[int, typer.Option(min=1, help="Trainings, each --step after the one before.")] = 1,
    step: Annotated[int, typer.Option(parser=_days, metavar="DAYS", help="Between two folds.")] = _A_WEEK,
    exclude_known_compromised: Annotated[
        bool, typer.Option("--exclude-known-compromised", help="Leave cards out of the test once their fraud is known.")
    ] = False,
    search: Annotated[int, typer.Option(min=1, help="Settings that the search tries.")] = 24,
    rates: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Exchange rates beside the ECB's, as of ./run rates import.")
    ] = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Folder (default: ./backtest-TEST_START).")] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="The same with transaction_id, is_fraud (ids alone: all are frauds), perhaps label_time."),
    ] = None,
    labels_inside: Annotated[
        bool, typer.Option("--labels-inside", help="Take labels from the column is_fraud of --transactions.")
    ] = False,
    label_time: Annotated[str | None, typer.Option(help="When labels became known that do not say so.")] = None,
    decimal_comma: Annotated[bool, typer.Option("--decimal-comma", help="Amounts are written 1.234,56.")] = False,
    mapping: Annotated[
        str | None,
        typer.Option("--map", "--preset", help="A mapping file or a preset, for other columns (docs/mapping.md)."),
    ] = None,
) -> None:
    """Train on your own files as on a past day, score the days after it, and report what was caught. No service needed.

    Six columns are needed (transaction_id, user_id, merchant_id, amount, currency, timestamp with zone); the optional
    ones help. Writes predictions.parquet, report.json and report.html to --out.

    The protocol, all days UTC, ends exclusive. The model is trained as on --test-start, with the labels known on that
    day: those whose label_time, or else event time plus --label-delay, had come. Backwards from --train-end: seven days
    of validation (FRAUD_VALIDATION_DAYS), which calibrate the scores and choose the threshold; one label delay that
    nothing is trained on, because its labels came during validation; before that, training, back to --train-days before
    --train-end. --train-end is a label delay before --test-start, or earlier. Test rows are judged by their last label,
    whenever it came; without a label a transaction is genuine.

    --folds trains again, each time --step later, and judges every training on the days after it (prequential).

    --exclude-known-compromised leaves out of each day of the test the cards with a fraud between the start of
    validation and a label delay before that day, if it was labelled by then.

    docs/evaluation.md says why.
    """
    from fraud_stack.backtest import BacktestOptions, run_and_report

    run_and_report(
        BacktestOptions(
            transactions,
            labels,
            train_end.date(),
            test_start.date(),
            test_days,
            train_days,
            label_delay,
            folds,
            step,
            exclude_known_compromised,
            search,
            out or Path(f"backtest-{test_start.date()}"),
            labels_inside,
            label_time,
            decimal_comma,
            mapping,
            rates,
        )
    )


@app.command(context_settings=_PASS_THROUGH)
def reproduce(context: typer.Context) -> None:
    """Train a logged model again from its MLflow run and compare the two bit for bit (--help says how)."""
    _run_module("fraud_assets.commands.reproduce", *context.args)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="As MLflow numbers it.")],
    reason: Annotated[str, typer.Option(help="Why; it is written to the promotion log.")],
) -> None:
    """Put a model version into Production. The stream follows without a restart."""
    _run_module("fraud_assets.commands.champion", "promote", version, "--reason", reason)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; it is written to the promotion log.")] = "asked for by command",
) -> None:
    """Put the previous version back into Production. Only ./run promote brings the present one back."""
    _run_module("fraud_assets.commands.champion", "rollback", "--reason", reason)


@app.command()
def ledger(
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the ledger to this file.")] = None,
) -> None:
    """Prove that each transaction is decided once: counts from the four topics. Fails when they do not balance."""
    from json import dumps

    from fraud_core.settings import Settings
    from fraud_stack.ledger import lines, take_ledger

    taken = take_ledger(Settings())
    if json is not None:
        json.write_text(dumps(taken.to_dict(), indent=2) + "\n")
    print("\n".join(lines(taken)))
    if not taken.is_balanced:
        raise typer.Exit(1)


@app.command(name="dead-letters", context_settings=_PASS_THROUGH)
def dead_letters(context: typer.Context) -> None:
    """List the records that could not be read, or send them again after a fix (--help lists the options)."""
    _run_module("streaming.commands.dead_letters", *context.args)


@app.command(context_settings=_PASS_THROUGH)
def explain(context: typer.Context) -> None:
    """Recompute one decision from the topic and compare it with what was served, bit for bit."""
    _run_module("streaming.commands.explain", *context.args)


@app.command(context_settings=_PASS_THROUGH)
def repair(context: typer.Context) -> None:
    """Repair a checkpoint of the stream that has a corrupt file."""
    _run_module("streaming.commands.repair", *context.args)


@app.command()
def chaos(
    seed: Annotated[int, typer.Option(help="The same seed gives the same load and the same order of faults.")] = 7,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the load lasts at least.")] = 5.0,
    fault: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again (default: all).")] = None,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the report to this file.")] = None,
) -> None:
    """Break a stack of its own under load, fault by fault, and prove that nothing was lost."""
    from fraud_stack.chaos.run import ChaosOptions, run_chaos

    run_chaos(ChaosOptions(seed, minutes, fault or (), json))


@app.command(context_settings=_PASS_THROUGH)
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A package of benchmarks/: training, streaming, growth, cluster, drift…")],
) -> None:
    """Run a benchmark: ./run bench training (--help after the name lists its options)."""
    from importlib.util import find_spec

    from fraud_io.errors import OperatorError

    if not name.isidentifier() or find_spec(f"benchmarks.{name}") is None:
        raise OperatorError(f"there is no benchmark called {name}: see benchmarks/README.md for those there are")
    _run_module(f"benchmarks.{name}", *context.args)


@app.command()
def settings() -> None:
    """List every setting: its environment variable, its present value, what it is."""
    from fraud_core.settings import Settings, without_password

    present = Settings()
    for name, field in Settings.model_fields.items():
        value = without_password(str(getattr(present, name)))
        print(f"FRAUD_{name.upper():28} {value:24} {field.description or ''}".rstrip())


@app.command()
def secrets(
    check: Annotated[bool, typer.Option("--check", help="Fail when the environment holds placeholders.")] = False,
) -> None:
    """Write a .env for Docker Compose: .env.example with random secrets."""
    from fraud_io.folders import ROOT
    from fraud_stack import secrets

    if check:
        secrets.check(os.environ)
    else:
        secrets.write(ROOT / ".env")
        print(f"{ROOT / '.env'} is written: keep it, what is stored opens with its passwords only")


@app.command()
def prepare() -> None:
    """Create topics, exchange rates and the bucket of FRAUD_MLFLOW_ARTIFACTS: the first step of a deployment."""
    from fraud_core.settings import Settings
    from fraud_stack.prepare import prepare

    prepare(Settings())


@app.command()
def jars(
    lock: Annotated[bool, typer.Option("--lock", help="Write the lock file anew (for maintainers).")] = False,
) -> None:
    """Fetch the Java archives the stack needs, verified against fraud_stack/services/jars.lock."""
    from fraud_stack.services import jars

    if lock:
        jars.write_lock(print)
    else:
        jars.fetch(print)


@app.command(context_settings=_PASS_THROUGH)
def test(
    context: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out the tests that start a service or a stream.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Print the branches that no test takes.")] = False,
) -> None:
    """Lint, format check, import directions, then every test; with arguments, pytest with these alone."""
    from fraud_stack.testing import run_tests

    run_tests(context.args, fast=fast, coverage=coverage)


def _stack() -> "Stack":
    from fraud_core.settings import Settings
    from fraud_stack.services.stack import Stack

    return Stack(Settings())


def _run_module(module: str, *arguments: str) -> None:
    """Become ``python -m module``, so that signals and the exit status are its own."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def main() -> None:
    """Run a command. Every error is one sentence on standard error and a non-zero exit status."""
    # A shell that starts this in the background makes it ignore SIGINT, and Dagster then ignores SIGTERM as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="./run", standalone_mode=False))
    except KeyboardInterrupt:
        print("fraud: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if _state["debug"]:
            raise
        print(f"fraud: {_sentence(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, typer.TyperException) else 1)


def _sentence(error: Exception) -> str:
    from pydantic import ValidationError

    from fraud_core.settings import describe
    from fraud_io.errors import OperatorError

    if isinstance(error, OperatorError):
        return str(error)
    if isinstance(error, typer.TyperException):
        return f"{error.format_message().rstrip('.')} (see ./run --help)"
    if isinstance(error, ValidationError):
        return describe(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}. Check the disk, or set FRAUD_HOME to a folder you can write to"
    return f"unexpected {type(error).__name__}: {error}. Run it again as ./run --debug … and report what it prints"


if __name__ == "__main__":
    main()
