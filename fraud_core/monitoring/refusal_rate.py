"""How many records cannot be read, by the day they arrived: a producer that breaks shows here before anything else."""

import polars as pl

from fraud_core.timestamps import day_of

USUAL_DAYS = 28
STANDARD_DEVIATIONS = 5.0
TOLERATED_SHARE = 0.001  # more than usual, whatever usual is
TOLERATED_COUNT = 5

_DAY = day_of("ingest_time_ms")


def refusals_by_day(decided: pl.LazyFrame, dead_letters: pl.LazyFrame) -> pl.DataFrame:
    """day, records, refused, limit, is_alarm of each day of arrival, in order.

    decided : ingest_time_ms of each decided transaction. dead_letters : dead_letter.DEAD_LETTER_COLUMNS; one that is
        there twice counts once.

    The limit is what the days before lead one to expect, five standard deviations, and a tolerance. A day needs not be
    over: half of one has half as many of both.
    """
    accepted = decided.group_by(_DAY).agg(accepted=pl.len().cast(pl.Int64))
    refused = dead_letters.unique(["partition", "offset"]).group_by(_DAY).agg(refused=pl.len().cast(pl.Int64))
    days = accepted.join(refused, on="day", how="full", coalesce=True).fill_null(0).sort("day").collect()
    days = days.select("day", "refused", records=pl.col("accepted") + pl.col("refused"))
    before = {
        name: pl.col(name).shift(1, fill_value=0).rolling_sum(USUAL_DAYS, min_samples=1)
        for name in ("refused", "records")
    }
    usual = pl.when(before["records"] > 0).then(before["refused"] / before["records"]).otherwise(0.0)
    expected = usual * pl.col("records")
    tolerated = pl.max_horizontal(pl.col("records") * TOLERATED_SHARE, pl.lit(float(TOLERATED_COUNT)))
    limit = expected + STANDARD_DEVIATIONS * expected.sqrt() + tolerated
    return days.select("day", "records", "refused", limit=limit).with_columns(
        is_alarm=pl.col("refused") > pl.col("limit")
    )
