"""The user's files as the columns of a training run: validated like the stream's messages, invalid rows counted.

Files are read in chunks; only the columns are held: 220 bytes per transaction with its label, 290 while sorting
(measured on 10.8 million from Parquet).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from fraud_core.input_files.chunks import columns_of
from fraud_core.input_files.decoded_rows import FileReader, checked_labels, checked_payments
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.label_matches import match_labels
from fraud_core.input_files.refused import Refused
from fraud_core.input_files.sources import Source
from fraud_core.labels.known import LABEL_COLUMNS
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
    transactions: Sequence[Source], labels: Sequence[Source], reader: FileReader, *, label_delay_days: int
) -> Loaded:
    """Of both; labels : none where ``reader`` takes those inside the payments. InputFileError when a file is unusable
    or there is no usable row."""
    checked_payments(transactions, labels_inside=reader.labels_inside)
    label_sources, _ = checked_labels(labels, reader.label_time_ms)
    accepted = list(reader.transactions(transactions))
    arrived = _usable_rows([part.transactions.drop("offset") for part in accepted], "transaction", reader.refused)
    parts = [part.labels for part in accepted] if reader.labels_inside else list(reader.labels(label_sources))
    named = _usable_rows(parts, "label", reader.refused_labels)
    arrived, repeated = _in_arrival_order(arrived)
    used, doubtful = _usable(named, arrived, label_delay_days)
    warnings = {
        **_of(reader.refused, "transaction"), **repeated, **_of(reader.refused_labels, "label"), **doubtful
    }  # fmt: skip
    given = {name for source in transactions for name in columns_of(source)}
    columns_used = tuple(name for name in OPTIONAL if name in given)
    return Loaded(arrived, used, {why: count for why, count in warnings.items() if count}, columns_used)


def _usable_rows(parts: list[pl.DataFrame], what: str, refused: Refused) -> pl.DataFrame:
    rows = pl.concat(parts or [pl.DataFrame()])
    if rows.height:
        return rows
    why = f"; {refused.lines()[1].strip()}" if refused.counts else ""
    raise InputFileError(f"the files hold no {what} that can be used{why}")


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
    unmatched = ""
    if known.height < joined.height:
        with duckdb.connect() as connection:
            connection.register("labels", labels)
            connection.register("payments", transactions)
            matches = match_labels(connection, "labels", "payments")
        unmatched = f" ({matches.cure})" if matches.cure else ""
        if not matches.matched:
            raise InputFileError(f"no label is of a payment of the files: {matches.line()}")
    warnings = {
        f"labels of transactions that are not in the files: left out{unmatched}": joined.height - known.height,
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
    } | {f"{what}s used {note}": count for note, count in refused.notes().items()}
