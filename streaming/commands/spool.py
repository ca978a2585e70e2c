"""Payments and labels of files on their way to the topics: on disk, out in the order in which they happened."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Self

import duckdb
import polars as pl
import pyarrow as pa

from fraud_core.input_files.decoded_rows import LABELS, Accepted
from fraud_core.input_files.label_matches import LabelMatches, match_labels
from fraud_core.payments.transaction import COLUMNS
from fraud_io.errors import OperatorError

_BATCH_ROWS = 2000
_PAYMENT = {name: dtype for name, dtype in COLUMNS.items() if name not in ("partition", "ingest_time_ms")}
_PLACE = {"file": pl.Int32}


class Spool:
    """A context manager. Holds as much in memory as ``memory_limit`` says, everything else in a temporary folder (of
    TMPDIR), which goes with it: about as large as the files are as CSV. OperatorError when there is no room for it."""

    def __init__(self, memory_limit: str = "512MB") -> None:
        self._folder = TemporaryDirectory(prefix="fraud-replay-")
        folder = Path(self._folder.name)
        self._database = duckdb.connect(
            folder / "rows.duckdb",
            config={
                "memory_limit": memory_limit,
                "temp_directory": str(folder / "sorting"),
                "threads": 1,  # each needs room of its own to merge what it sorted
                "preserve_insertion_order": False,  # every query that is read in order says in which
            },
        )
        for table, schema in (
            ("payments", {**_PAYMENT, **_PLACE}),
            ("labels", LABELS),
            ("known", {"transaction_id": pl.String}),
        ):
            self._database.register("rows", pl.DataFrame(schema=schema).to_arrow())
            self._database.execute(f"CREATE TABLE {table} AS SELECT * FROM rows")
        self._database.execute("CREATE SEQUENCE place")
        self._database.execute("ALTER TABLE labels ADD COLUMN place BIGINT DEFAULT nextval('place')")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, accepted: Accepted) -> None:
        rows = accepted.transactions.with_columns(pl.lit(accepted.file, pl.Int32).alias("file"))
        self._insert("payments", rows.select(*_PAYMENT, *_PLACE))
        self.add_labels(accepted.labels)

    def add_labels(self, labels: pl.DataFrame) -> None:
        """labels : LABELS."""
        self._insert("labels", labels)

    def add_known(self, transaction_ids: Sequence[str]) -> None:
        """Of payments that are in the topic already."""
        self._insert("known", pl.DataFrame({"transaction_id": transaction_ids}, schema={"transaction_id": pl.String}))

    def query(self, sql: str) -> pl.DataFrame:
        """Of the tables payments and labels."""
        try:
            return self._database.sql(sql).pl()
        except duckdb.Error as error:
            raise _told(error) from error

    def matches(self) -> LabelMatches:
        return match_labels(self._database, "labels", "payments")

    def payments(self) -> Iterator[list[dict[str, Any]]]:
        """In order of event time, and of file and row where that is the same: the fields that ``encode_transaction``
        takes, with ``is_known``, and ``is_fraud`` and ``source`` of the last of its labels that has no time."""
        return self._batches(
            f"""
            SELECT {", ".join(f"payments.{name}" for name in _PAYMENT if name != "offset")},
                known.transaction_id IS NOT NULL AS is_known, undated.is_fraud, undated.source
            FROM payments
            LEFT JOIN (SELECT DISTINCT transaction_id FROM known) AS known USING (transaction_id)
            LEFT JOIN (
                SELECT transaction_id, arg_max(is_fraud, place) AS is_fraud, arg_max(source, place) AS source
                FROM labels WHERE label_time_ms IS NULL GROUP BY transaction_id
            ) AS undated USING (transaction_id)
            ORDER BY payments.event_time_ms, payments.file, payments."offset"
            """
        )

    def dated_labels(self) -> Iterator[list[dict[str, Any]]]:
        """Those that say when they became known, in the order of the files: LABELS."""
        return self._batches(f"SELECT {', '.join(LABELS)} FROM labels WHERE label_time_ms IS NOT NULL ORDER BY place")

    def undated_labels_of_others(self) -> Iterator[list[dict[str, Any]]]:
        """Those without a time whose payment is not in the files."""
        return self._batches(
            f"SELECT {', '.join(LABELS)} FROM labels ANTI JOIN payments USING (transaction_id) "
            "WHERE label_time_ms IS NULL ORDER BY place"
        )

    def _insert(self, table: str, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        self._database.register("rows", rows.to_arrow())
        columns = ", ".join(f'"{name}"' for name in rows.columns)
        try:
            self._database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM rows")
        except duckdb.Error as error:
            raise _told(error) from error

    def _batches(self, query: str) -> Iterator[list[dict[str, Any]]]:
        # A cursor of its own: one connection streams one result at a time.
        try:
            reader: pa.RecordBatchReader = self._database.cursor().sql(query).to_arrow_reader(_BATCH_ROWS)
            for batch in reader:
                yield batch.to_pylist()
        except (duckdb.Error, OSError) as error:
            raise _told(error) from error


def _told(error: Exception) -> OperatorError:
    reason = str(error).partition("\n")[0]
    return OperatorError(f"the rows cannot be put in order: {reason}. They need room in {gettempdir()} (TMPDIR)")
