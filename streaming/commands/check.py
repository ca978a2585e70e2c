"""``python -m streaming.commands.check FILE...``: what replay and backtest would make of files. Nothing is sent.

Exit status: 0 all rows can be used, 1 some cannot, 2 the files cannot be used as they are.
"""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from fraud_core.input_files.chunks import columns_of
from fraud_core.input_files.decoded_rows import FileReader
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.messages import REQUIRED_TRANSACTION_COLUMNS
from fraud_core.input_files.recognise import does_not_fit, draft_of, nearest_column, preset_of
from fraud_core.input_files.sources import Source, sources_of
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.mapping_file import mapping_text
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, iso_date, now_ms
from streaming.commands.command_line import run
from streaming.commands.replay import Reporter, fill, label_time_of, usable_mapping
from streaming.commands.spool import Spool

app = typer.Typer(add_completion=False)

_TEST_DAYS = 7
_LEAST_TRAINING_DAYS = 14
_LEAST_PER_CARD = 2.0


@app.command()
def main(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="As of ./run replay.")],
    labels: Annotated[str | None, typer.Option(help="Labels in files of their own, as of ./run replay.")] = None,
    labels_inside: Annotated[bool, typer.Option("--labels-inside", help="Labels are in FILE.")] = False,
    label_time: Annotated[str | None, typer.Option(help="When labels became known that do not say so.")] = None,
    decimal_comma: Annotated[bool, typer.Option("--decimal-comma", help="Amounts are written 1.234,56.")] = False,
    mapping: Annotated[
        str | None,
        typer.Option("--map", "--preset", help="A mapping file or a preset (default: what fits the columns)."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the mapping that fits best to this file, to go on from.")
    ] = None,
) -> int:
    """Read files and say what is in them, what cannot be used and why, and which commands fit. Sends nothing."""
    settings = Settings()
    sources, label_sources = sources_of(files), sources_of(labels) if labels else []
    columns = list(dict.fromkeys(name for source in sources for name in columns_of(source)))
    chosen = mapping or _recognised(columns)
    if write is not None:
        write.write_text(mapping_text(chosen) if chosen else draft_of(columns))
        print(f"   {write} has the mapping to begin with: --map {write} tries it (docs/mapping.md)")
    if chosen is None and (missing := [name for name in REQUIRED_TRANSACTION_COLUMNS if name not in columns]):
        raise InputFileError(_lacks(sources[0], missing, columns))
    text = usable_mapping(chosen)
    has_labels = bool(text and RecordMapping.of(text).has_labels and not labels)
    inside = labels_inside or has_labels
    reader = FileReader(
        now_ms(),
        settings.reading_rules_with(text),
        decimal_comma=decimal_comma,
        label_time_ms=label_time_of(label_time, settings),
        labels_inside=inside,
        progress=Reporter("rows"),
    )
    _, unused = reader.checked(sources)
    label_sources, _ = reader.checked_labels(label_sources)
    if unused:
        print(f"   not used: {', '.join(unused)}")
    with Spool() as spool:
        fill(spool, reader, sources, label_sources, threading.Event())
        if not spool.query("SELECT count(*) AS rows FROM payments")["rows"][0]:
            raise InputFileError(f"no row can be used: {'; '.join(reader.refused.lines())}")
        facts = _facts(spool)
        is_labelled = inside or bool(labels)
        lines = [*_shown(facts), *_currencies(spool), *(_labels(spool) if is_labelled else ["no labels"])]
    lines += reader.refused.lines() + [f"labels: {line}" for line in reader.refused_labels.lines()]
    options = [*([f"--map {chosen}"] if chosen else []), *(["--labels-inside"] if inside else [])]
    options += [f"--labels {labels}"] if labels else []
    lines += _commands(facts, " ".join(files), options, settings.label_delay_days, is_labelled=is_labelled)
    for line in lines:
        print(f"   {line}")
    return 1 if reader.refused.counts or reader.refused_labels.counts else 0


def _recognised(columns: list[str]) -> str | None:
    """A preset that fits, unless the columns are ours."""
    if (why := does_not_fit(columns)) is not None:
        raise InputFileError(why)
    if set(REQUIRED_TRANSACTION_COLUMNS) <= set(columns):
        print("   columns as in docs/contract.md")
        return None
    preset = preset_of(columns)
    if preset is not None:
        print(f"   columns of the preset {preset}")
    return preset


def _lacks(source: Source, missing: list[str], columns: list[str]) -> str:
    near = {name: nearest_column(name, columns) for name in missing}
    hints = [f"{name} (is it {column}?)" if column else name for name, column in near.items()]
    return (
        f"{source} lacks {', '.join(hints)}; it has {', '.join(columns)}. No preset fits: --write mapping.toml writes "
        "a mapping to begin with, and --map mapping.toml tries it"
    )


def _facts(spool: Spool) -> dict[str, Any]:
    """Of the payments, by name."""
    return spool.query("""
        WITH placed AS (
            SELECT *, lag(event_time_ms) OVER (ORDER BY file, "offset") AS before_ms FROM payments
        )
        SELECT count(*) AS rows, count(DISTINCT transaction_id) AS ids, count(DISTINCT user_id) AS cards,
            count(DISTINCT merchant_id) AS merchants, min(event_time_ms) AS first_ms, max(event_time_ms) AS last_ms,
            count(*) FILTER (before_ms > event_time_ms) AS out_of_order,
            count(*) FILTER (amount_minor = 0) AS zero, count(*) FILTER (amount_minor < 0) AS negative
        FROM placed
    """).to_dicts()[0]


def _shown(facts: dict[str, Any]) -> list[str]:
    rows, cards = facts["rows"], facts["cards"]
    per_card = rows / cards
    lines = [
        f"{rows:,} payments from {iso_date(facts['first_ms'])} to {iso_date(facts['last_ms'])}, "
        + ("in the order of their times" if not facts["out_of_order"] else "not in the order of their times"),
        f"{cards:,} cards, {per_card:,.3f} payments a card"
        + (": there is hardly a history to learn from" if per_card < _LEAST_PER_CARD else ""),
        f"{facts['merchants']:,} merchants",
        f"{facts['zero']:,} amounts of 0 (verifications), {facts['negative']:,} below 0 (refunds)",
    ]
    if rows > facts["ids"]:
        lines.append(f"{rows - facts['ids']:,} payments repeat a transaction_id: each counts once")
    return lines


def _currencies(spool: Spool) -> list[str]:
    found = spool.query(
        "SELECT currency, count(*) AS rows FROM payments GROUP BY currency ORDER BY rows DESC, currency"
    )
    return ["currencies: " + ", ".join(f"{name} {rows:,}" for name, rows in found.rows())]


def _labels(spool: Spool) -> list[str]:
    """How many match, and by month of the payments how many are labelled: a feed that stops teaches that fraud is
    genuine."""
    months = spool.query("""
        SELECT strftime(make_timestamp(event_time_ms * 1000), '%Y-%m') AS month, count(*) AS payments,
            count(is_fraud) AS labelled, count(*) FILTER (is_fraud) AS frauds
        FROM payments LEFT JOIN (
            SELECT transaction_id, arg_max(is_fraud, place) AS is_fraud FROM labels GROUP BY transaction_id
        ) USING (transaction_id)
        GROUP BY month ORDER BY month
    """)
    lines = [spool.matches().line()]
    lines += [
        f"{month}: {payments:,} payments, {labelled:,} labelled, {frauds:,} of them fraud"
        for month, payments, labelled, frauds in months.rows()
    ]
    silent = months.filter(pl.col("frauds") == 0)["month"].to_list()
    if silent and len(silent) < months.height:
        lines.append(f"no fraud is known in {', '.join(silent)}: where the labels were silent, fraud counts as genuine")
    if len(silent) == months.height:
        lines.append("no fraud is known at all: nothing can be learned from these labels")
    return lines


def _commands(facts: dict[str, Any], files: str, options: list[str], delay: int, *, is_labelled: bool) -> list[str]:
    """The finished commands, with dates that fit."""
    chosen = " ".join(options)
    lines = [f"./run replay {files} {chosen}".rstrip()]
    test_start_ms = facts["last_ms"] // DAY_MS * DAY_MS - (_TEST_DAYS - 1) * DAY_MS
    train_end_ms = test_start_ms - delay * DAY_MS
    # What a training needs before --train-end: validation, a label delay behind it, and days to learn from.
    needed = timedelta(days=7 + delay + _LEAST_TRAINING_DAYS) // timedelta(milliseconds=1)
    if not is_labelled:
        return [*lines, "a backtest needs labels: --labels FILE, or --labels-inside"]
    if train_end_ms - facts["first_ms"] < needed:
        days = (facts["last_ms"] - facts["first_ms"]) // DAY_MS + 1
        least = 7 + 2 * delay + _LEAST_TRAINING_DAYS + _TEST_DAYS
        return [*lines, f"a backtest needs {least} days of payments: these are {days}"]
    return [
        *lines,
        f"./run backtest --transactions {files} {chosen} --train-end {iso_date(train_end_ms)} "
        f"--test-start {iso_date(test_start_ms)} --test-days {_TEST_DAYS}",
    ]


if __name__ == "__main__":
    run(app)
