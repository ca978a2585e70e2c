"""The user's files as the columns of a training run: validated like the stream's messages, invalid rows counted.

Files are read in chunks; only the columns are held: 220 bytes per transaction with its label, 290 while sorting
(measured on 10.8 million from Parquet).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fraud_core.input_files import messages
from fraud_core.input_files.bulk_check import proven_labels, proven_transactions
from fraud_core.input_files.chunks import chunks_of
from fraud_core.input_files.decoded_rows import checked_files, decode_label_rows, decode_transaction_rows
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.paths import columns_of
from fraud_core.input_files.refused import Refused
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import COLUMNS, OPTIONAL
from fraud_core.timestamps import DAY_MS

_CONTENT = [name for name in COLUMNS if name not in ("partition", "offset", "ingest_time_ms", "transaction_id")]


@dataclass(frozen=True)
class Loaded:
    """transactions : transaction.COLUMNS in order of event time. labels : known.LABEL_COLUMNS, of these alone.

    warnings : sentences with their counts. columns_used : optional columns that the files have.
    """

    transactions: pl.DataFrame
    labels: pl.DataFrame
    warnings: dict[str, int]
    columns_used: tuple[str, ...]


def load(
    transactions: Path,
    labels: Path,
    *,
    label_delay_days: int,
    now_ms: int,
    rules: ReadingRules,
    progress: Callable[[str], None],
) -> Loaded:
    """Both files, or folders of files. InputFileError when a file is unusable or has no usable row."""
    files, _ = checked_files(transactions, messages.REQUIRED_TRANSACTION_COLUMNS, messages.TRANSACTION_COLUMNS)
    label_files, _ = checked_files(labels, messages.REQUIRED_LABEL_COLUMNS, messages.LABEL_COLUMNS)
    refused, refused_labels = Refused(), Refused()
    arrived = _concat(
        _transaction_chunks(files, refused, now_ms, rules, progress), transactions, "transaction", refused
    )
    known = _concat(_label_chunks(label_files, refused_labels, rules, progress), labels, "label", refused_labels)
    arrived, repeated = _in_arrival_order(arrived)
    known, doubtful = _usable(known, arrived, label_delay_days)
    warnings = {**_of(refused, "transaction"), **repeated, **_of(refused_labels, "label"), **doubtful}
    given = {name for file in files for name in columns_of(file)}
    columns_used = tuple(name for name in OPTIONAL if name in given)
    return Loaded(arrived, known, {why: count for why, count in warnings.items() if count}, columns_used)


def _transaction_chunks(
    files: list[Path], refused: Refused, now_ms: int, rules: ReadingRules, progress: Callable[[str], None]
) -> Iterator[pl.DataFrame]:
    columns, read = ["offset", "transaction_id", *_CONTENT], 0
    for file in files:
        for chunk in chunks_of(file, messages.TRANSACTION_COLUMNS):
            proven, is_proven = proven_transactions(chunk.columns, now_ms)
            parts = [proven.with_columns(offset=chunk.numbers[is_proven])]
            if not is_proven.all():
                rest = chunk.rows(~is_proven)
                parts.append(decode_transaction_rows(file, rest, refused, now_ms=now_ms, rules=rules))
            yield pl.concat([part.select(columns) for part in parts]).sort("offset")
            read += len(chunk.numbers)
            progress(f"{read:,} transactions read")


def _label_chunks(
    files: list[Path], refused: Refused, rules: ReadingRules, progress: Callable[[str], None]
) -> Iterator[pl.DataFrame]:
    columns, read = ["transaction_id", "is_fraud", "source", "label_time_ms", "offset"], 0
    for file in files:
        for chunk in chunks_of(file, messages.LABEL_COLUMNS):
            proven, is_proven = proven_labels(chunk.columns)
            parts = [proven.with_columns(offset=chunk.numbers[is_proven])]
            if not is_proven.all():
                decoded, dated = decode_label_rows(file, chunk.rows(~is_proven), refused, rules)
                time_ms = pl.when(pl.Series(dated, dtype=pl.Boolean)).then(pl.col("label_time_ms"))
                parts.append(decoded.with_columns(label_time_ms=time_ms))
            yield pl.concat([part.select(columns) for part in parts]).sort("offset")
            read += len(chunk.numbers)
            progress(f"{read:,} labels read")


def _concat(chunks: Iterator[pl.DataFrame], path: Path, what: str, refused: Refused) -> pl.DataFrame:
    rows = pl.concat([chunk.drop("offset") for chunk in chunks] or [pl.DataFrame()])
    if rows.height:
        return rows
    why = f"; {refused.lines()[1].strip()}" if refused.counts else ""
    raise InputFileError(f"{path} holds no {what} that can be used{why}")


def _in_arrival_order(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """transaction.COLUMNS as if each had arrived when it happened; of each transaction_id, the first."""
    rows = rows.sort("event_time_ms", maintain_order=True)
    is_first = rows["transaction_id"].is_first_distinct()
    warnings = {}
    if not is_first.all():
        again = rows.filter(~is_first)
        same = again.join(rows.filter(is_first), on=["transaction_id", *_CONTENT], how="semi", nulls_equal=True).height
        warnings = {
            "transactions given again under the same transaction_id with the same content: left out": same,
            "transactions under the transaction_id of another one, with other content: left out, the first is kept": (
                again.height - same
            ),
        }
        rows = rows.filter(is_first)
    event_time = pl.col("event_time_ms")
    rows = rows.with_columns(pl.lit(0).alias("partition"), pl.int_range(pl.len()).alias("offset"))
    return rows.with_columns(ingest_time_ms=event_time).select(pl.col(n).cast(d) for n, d in COLUMNS.items()), warnings


def _usable(labels: pl.DataFrame, transactions: pl.DataFrame, delay_days: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """known.LABEL_COLUMNS; a label without a time is known ``delay_days`` after its transaction."""
    joined = labels.join(
        transactions.select("transaction_id", "event_time_ms"), on="transaction_id", how="left", maintain_order="left"
    )
    known = joined.filter(pl.col("event_time_ms").is_not_null()).with_columns(
        pl.col("label_time_ms").fill_null(pl.col("event_time_ms") + delay_days * DAY_MS)
    )
    verdicts = known.filter(pl.col("transaction_id").is_duplicated()).group_by("transaction_id")
    contradicted = verdicts.agg(pl.col("is_fraud").n_unique()).filter(pl.col("is_fraud") > 1).height
    warnings = {
        "labels of transactions that are not in the files: left out": joined.height - known.height,
        "transactions with labels that contradict each other: the one with the last label_time counts": contradicted,
        "labels from before their transaction: used as they are": known.filter(
            pl.col("label_time_ms") < pl.col("event_time_ms")
        ).height,
    }
    placed = known.with_columns(pl.lit(0).alias("partition"), pl.int_range(pl.len()).alias("offset"))
    return placed.select(pl.col(name).cast(dtype) for name, dtype in LABEL_COLUMNS.items()), warnings


def _of(refused: Refused, what: str) -> dict[str, int]:
    return {
        f"{what}s refused, {kind} (such as {refused.examples[kind][0]})": count
        for kind, count in refused.counts.most_common()
    } | {f"{what}s used without {name}, which cannot be read": count for name, count in refused.ignored.most_common()}
