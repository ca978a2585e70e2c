"""Days of a table's rows. Apart from ``timestamps``, which processes without a table import too."""

import polars as pl


def day_of(column: str) -> pl.Expr:
    """``day`` (Date, UTC) of a column of milliseconds since 1970."""
    return pl.from_epoch(column, time_unit="ms").dt.date().alias("day")
