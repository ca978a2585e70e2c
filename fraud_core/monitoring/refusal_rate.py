"""How many records cannot be read, by day of arrival: a broken producer shows here first."""

import polars as pl

from fraud_core.timestamps import day_of

USUAL_DAYS = 28
STANDARD_DEVIATIONS = 5.0
TOLERATED_SHARE = 0.001  # more than usual, whatever usual is
TOLERATED_COUNT = 5

_DAY = day_of("ingest_time_ms")


def refusals_by_day(decided: pl.LazyFrame, dead_letters: pl.LazyFrame) -> pl.DataFrame:
    """day, records, refused, limit, is_alarm of each day of arrival, in order.

    decided : ingest_time_ms of each decided transaction. dead_letters : dead_letter.DEAD_LETTER_COLUMNS; duplicates
        count once.

    The limit is the number expected from the days before, plus five standard deviations and a tolerance. An unfinished
    day can be judged: half a day has half as many records, read and refused.
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
