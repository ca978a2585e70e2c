"""``./run backtest``: files of your own in, the report of a trained and judged model out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from math import isfinite
from pathlib import Path
from statistics import mean

import polars as pl

from fraud_core.backtest.load import load
from fraud_core.backtest.periods import Protocol, make_folds
from fraud_core.backtest.report import make_report
from fraud_core.backtest.result import BacktestResult
from fraud_core.backtest.run import run_backtest
from fraud_core.features.exchange_rates import ExchangeRates, first_tables
from fraud_core.input_files.decoded_rows import FileReader
from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.rates import read_rates
from fraud_core.input_files.sources import sources_of
from fraud_core.payments.mapping_file import mapping_text
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.times import parse_time_ms
from fraud_core.settings import Settings
from fraud_core.timestamps import SECOND_MS, iso_date, now_ms
from fraud_io.errors import OperatorError
from fraud_io.files import replacing, write_atomically
from fraud_stack.rates import with_rates
from fraud_stack.steps import Steps

_LINE_EVERY_S = 2.0


@dataclass(frozen=True)
class BacktestOptions:
    """As on the command line; ``train_days`` None: as far back as a daily run."""

    transactions: str
    labels: str | None
    train_end: date
    test_start: date
    test_days: int
    train_days: int | None
    label_delay: int
    folds: int
    step: int
    exclude_known_compromised: bool
    search: int
    out: Path
    labels_inside: bool = False
    label_time: str | None = None
    decimal_comma: bool = False
    map: str | None = None
    rates: Path | None = None

    def shown(self) -> dict[str, str]:
        """Each option that has a value, under its name on the command line."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f"--{name.replace('_', '-')}": str(value) for name, value in given.items() if value is not None}


def run_and_report(options: BacktestOptions) -> None:
    """Write predictions.parquet and the report to ``out``. OperatorError when files or periods cannot be used."""
    settings = Settings(label_delay_days=options.label_delay, search_candidates=options.search)
    steps = Steps()
    try:
        result = _backtest(options, settings, steps)
    except (InputFileError, ValueError) as error:
        raise OperatorError(str(error)) from error
    with steps.step("report", "Write the report"):
        with replacing(options.out / "predictions.parquet") as new:
            predictions(result).write_parquet(new)
        report = make_report(result)
        write_atomically(options.out / "report.json", report.json)
        write_atomically(options.out / "report.html", report.html)
    for line in summary(result):
        steps.show(line)
    steps.show(f"Report: {options.out / 'report.html'}")


def _backtest(options: BacktestOptions, settings: Settings, steps: Steps) -> BacktestResult:
    if (options.labels is None) != options.labels_inside:
        raise InputFileError("give either --labels or --labels-inside")
    mapping = mapping_text(options.map) if options.map else settings.reading_rules.mapping
    rules = ReadingRules(0, settings.time_zone, mapping=mapping)
    rates = exchange_rates(options, settings)  # before the work, in case the file is wrong
    title = f"Read {options.transactions}" + (f" and {options.labels}" if options.labels else "")
    with steps.step("load", title), _live(steps, _LINE_EVERY_S) as show:
        reader = FileReader(
            now_ms(),
            rules,
            decimal_comma=options.decimal_comma,
            label_time_ms=parse_time_ms(options.label_time, rules.zone) if options.label_time else None,
            labels_inside=options.labels_inside,
            progress=lambda progress: show(progress.shown("rows")),
        )
        labels = sources_of(options.labels) if options.labels else []
        loaded = load(sources_of(options.transactions), labels, reader, label_delay_days=options.label_delay)
    for warning, count in loaded.warnings.items():
        steps.show(f"{count:,} {warning}")
    protocol = Protocol(
        train_end_ms=_midnight_ms(options.train_end),
        test_start_ms=_midnight_ms(options.test_start),
        test_days=options.test_days,
        train_days=options.train_days or settings.training_window_days,
        label_delay_days=options.label_delay,
        validation_days=settings.validation_days,
        folds=options.folds,
        step_days=options.step,
    )
    folds = make_folds(protocol, loaded.transactions["event_time_ms"])
    options.out.mkdir(parents=True, exist_ok=True)  # before the work, in case it is not writable
    title = f"Train and judge on {loaded.transactions.height:,} transactions"
    with steps.step("backtest", title), _live(steps, 0.0) as show:
        result = run_backtest(
            loaded.transactions,
            loaded.labels,
            folds,
            settings,
            rates,
            exclude_known_compromised=options.exclude_known_compromised,
            progress=show,
        )
    for warning, count in result.warnings.items():
        steps.show(f"{count:,} {warning}")
    warnings = {**loaded.warnings, **result.warnings}
    return replace(result, options=options.shown(), warnings=warnings, columns_used=loaded.columns_used)


def exchange_rates(options: BacktestOptions, settings: Settings) -> ExchangeRates:
    """The European Central Bank's and those of ``--rates``, each in force as if it had been published in time."""
    days = ecb_rates()
    if options.rates is not None:
        days = with_rates(days, read_rates(options.rates, datetime.now(UTC).date()))
    return ExchangeRates(first_tables(days), settings.currency)


def predictions(result: BacktestResult) -> pl.DataFrame:
    """transaction_id, score, prediction (0 or 1), threshold and fold of each judged transaction, fold by fold."""
    return pl.concat(
        fold.scored.select(
            "transaction_id",
            "score",
            prediction=pl.col("is_flagged").cast(pl.Int8),
            threshold=pl.lit(fold.threshold.value),
            fold=pl.lit(fold.fold, pl.Int32),
        )
        for fold in result.folds
    )


def summary(result: BacktestResult) -> list[str]:
    """A table: a line for each fold, and their mean."""
    columns = {
        "AP": "average_precision",
        "AUC": "roc_auc",
        "CP@100": "card_precision_at_100",
        "F2": "f2",
        "precision": "precision",
        "recall": "recall",
        "value caught": "value_caught",
    }
    metrics = [fold.evaluation.metrics() for fold in result.folds]
    lines = [f"{'test':24}" + "".join(f"{name:>13}" for name in columns)]
    rows = [(" to ".join(map(iso_date, fold.split.test)), of) for fold, of in zip(result.folds, metrics, strict=True)]
    if len(rows) > 1:
        rows.append(("mean", {name: mean(of[name] for of in metrics) for name in columns.values()}))
    shown = [[f"{of[name]:.3f}" if isfinite(of[name]) else "-" for name in columns.values()] for _, of in rows]
    lines += [f"{days:24}" + "".join(f"{x:>13}" for x in of) for (days, _), of in zip(rows, shown, strict=True)]
    return lines + without_rate(result)


def without_rate(result: BacktestResult) -> list[str]:
    """A line for each currency whose payments could not all be converted; money caught counts none of these."""
    return [
        f"{row['not_converted']:,} transactions of {row['not_converted_amount']:,.2f} {row['currency']} have no rate "
        f"into {result.currency}: give one with --rates"
        for row in result.currencies.filter(pl.col("not_converted") > 0).iter_rows(named=True)
    ]


@contextmanager
def _live(steps: Steps, every_s: float) -> Iterator[Callable[[str], None]]:
    """What is being done now: in place on a terminal, else as lines, one in ``every_s`` at most."""
    if steps.console.is_terminal:
        with steps.console.status("") as status:
            yield status.update
        return
    shown = time.monotonic()

    def show(line: str) -> None:
        nonlocal shown
        if time.monotonic() - shown >= every_s:
            shown = time.monotonic()
            steps.show(line)

    yield show


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_MS
