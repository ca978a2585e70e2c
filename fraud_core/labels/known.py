"""Labels: what became known about a transaction, and from when on it may be used."""

from collections.abc import Sequence

import orjson
import polars as pl

from fraud_core.payments.refusal import Refusal
from fraud_core.schema import explain, validator
from fraud_core.timestamps import DAY_MS, format_rfc3339_ms, parse_rfc3339_ms
from fraud_core.topics import FEEDBACK

LABEL_COLUMNS = {
    "transaction_id": pl.String,
    "is_fraud": pl.Boolean,
    "source": pl.String,
    "label_time_ms": pl.Int64,
    "partition": pl.Int32,
    "offset": pl.Int64,
}


def decode_feedback(
    values: Sequence[bytes | None], partitions: Sequence[int], offsets: Sequence[int]
) -> tuple[pl.DataFrame, list[Refusal]]:
    """Parse and validate feedback messages: a frame with LABEL_COLUMNS, and the refused ones by position."""
    is_valid = validator(FEEDBACK.schema).is_valid
    rows, refusals = [], []
    for index, value in enumerate(values):
        try:
            message = orjson.loads(value or b"")
            if not is_valid(message):
                refusals.append(Refusal.of(index, "schema", explain(FEEDBACK.schema, message)))
                continue
            time_ms = _label_time_ms(message["label_time"])
        except (ValueError, OverflowError) as error:
            refusals.append(Refusal.of(index, "not JSON or no time", str(error)))
            continue
        label = (message["transaction_id"], message["is_fraud"], message["source"], time_ms)
        rows.append((*label, partitions[index], offsets[index]))
    return pl.DataFrame(rows, schema=LABEL_COLUMNS, orient="row"), refusals


def _label_time_ms(text: str) -> int:
    try:
        return parse_rfc3339_ms(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"label_time: {error}") from error


def encode_feedback(transaction_id: str, is_fraud: bool, source: str, label_time_ms: int) -> bytes:
    """JSON bytes of one feedback message."""
    label_time = format_rfc3339_ms(label_time_ms)
    return orjson.dumps(
        {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": source, "label_time": label_time}
    )


def label_transactions(
    transactions: pl.DataFrame, labels: pl.DataFrame, as_of_ms: int, label_delay_days: int
) -> pl.Series:
    """``is_fraud`` (Boolean, null = not known yet) of each transaction, as it was known at ``as_of_ms``.

    The last label with ``label_time <= as_of`` wins. Without one, silence counts as genuine once ``label_delay_days``
    have passed since the event, and as unknown before.
    """
    known = (
        labels.filter(pl.col("label_time_ms") <= as_of_ms)
        .sort("label_time_ms", "partition", "offset")
        .unique("transaction_id", keep="last")
        .select("transaction_id", "is_fraud")
    )
    is_silent_long_enough = pl.col("event_time_ms") + label_delay_days * DAY_MS <= as_of_ms
    return (
        transactions.select("transaction_id", "event_time_ms")
        .join(known, on="transaction_id", how="left", maintain_order="left")
        .select(pl.col("is_fraud").fill_null(pl.when(is_silent_long_enough).then(False)))
        .to_series()
    )
