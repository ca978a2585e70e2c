"""What a run is as of: a daily partition holds what was known at the end of its day, 00:00 UTC of the next one."""

import dagster as dg
import polars as pl

from fraud_core.timestamps import latest_ms, parse_rfc3339_ms

AS_OF_TAG = "fraud/as_of"
"""On a run between two days: the moment, RFC 3339, that replaces the end of the day."""


def as_of_ms(context: dg.AssetExecutionContext) -> int:
    """The moment a run is as of, in UTC milliseconds."""
    between = context.run.tags.get(AS_OF_TAG)
    if between is not None:
        return parse_rfc3339_ms(between)
    return int(context.partition_time_window.end.timestamp() * 1000)


def known_ms(context: dg.AssetExecutionContext, event_times_ms: pl.Series) -> int:
    """The moment a run is as of, but not after the newest event: a simulated or replayed stream may lag."""
    return min(as_of_ms(context), latest_ms(event_times_ms)) if len(event_times_ms) else as_of_ms(context)
