"""What a daily partition means: partition D holds what was known at the end of day D, 00:00 UTC of the next day."""

import dagster as dg


def as_of_ms(context: dg.AssetExecutionContext) -> int:
    """End of the partition's day in UTC milliseconds."""
    return int(context.partition_time_window.end.timestamp() * 1000)
