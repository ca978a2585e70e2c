"""Asset ``transactions``: the topic as Parquet, read by Spark."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
from dagster_pyspark import LazyPySparkResource

from fraud_assets.decoding import SPARK_SCHEMA, decode_batches
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets.plots import as_markdown
from fraud_assets.resources import KafkaResource
from fraud_core import plots
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_core.timestamps import day_of
from fraud_io.folders import Lake
from fraud_io.schema_registry.messages import reading_rules


@dg.asset(
    group_name="ingestion",
    kinds={"kafka", "spark", "parquet"},
    owners=["team:fraud-ml"],
    io_manager_key="ingested",
)
def transactions(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    kafka: KafkaResource,
    spark: LazyPySparkResource,
) -> dg.MaterializeResult:
    """One row per accepted message of the topic `transactions`, everything that arrived until the run.

    A run appends the offsets that came since the last one as a folder of Parquet files by event date. Refused messages
    are counted here; the streaming job writes them to the dead letter topic.
    """
    log = OffsetLog(Lake(settings.lake).transactions)
    new = log.pending(*kafka.offsets(settings.topics.transactions))
    counts = {"accepted": 0, "refused": 0}
    if len(new):
        with log.append(new) as folder:
            counts = read_range(spark, settings, new, folder)
    else:
        context.log.info("no new transactions since the last run")
    days = _rows_per_day(log)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": int(days["rows"].sum()),
            "new_rows": counts["accepted"],
            "new_refused": counts["refused"],
            "new_offsets": str(new),
            "days_covered": days.height,
            "rows_of_the_day": int(
                days.filter(pl.col("day") == context.partition_time_window.start.date())["rows"].sum()
            ),
            "path": dg.MetadataValue.path(Lake(settings.lake).transactions),
            "transactions_per_day": as_markdown(plots.rows_per_day(days, "Transactions by event date")),
        }
    )


def read_range(spark: LazyPySparkResource, settings: Settings, offsets: TopicRange, folder: Path) -> dict[str, int]:
    """Decode a range of the topic with Spark into ``folder``; returns how many messages were accepted and refused.

    FileNotFoundError when Spark's Kafka connector is not there.
    """
    if not spark.spark_config["spark.driver.extraClassPath"]:
        raise FileNotFoundError("the jars of Spark's Kafka connector are not in .jars/spark: ./run up fetches them")
    from pyspark.sql import Observation
    from pyspark.sql.functions import count, unix_millis

    # Spark would otherwise start whatever `python3` is first on PATH for its workers.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    counts, topic = Observation("messages"), settings.topics.transactions
    (
        spark.spark_session.read.format("kafka")
        .options(**settings.spark_kafka())
        # What Spark's Kafka source wants: JSON of {topic: partitions} or {topic: {partition: offset}}.
        .option("assign", json.dumps({topic: list(offsets.end)}))
        .option("startingOffsets", json.dumps({topic: offsets.start}))
        .option("endingOffsets", json.dumps({topic: offsets.end}))
        .load()
        .select("value", "partition", "offset", unix_millis("timestamp").alias("ingest_time_ms"))
        .mapInArrow(partial(decode_batches, rules=reading_rules(settings)), SPARK_SCHEMA)
        .observe(counts, count("transaction_id").alias("accepted"), count("refusal").alias("refused"))
        .where("refusal is null")
        .drop("refusal")
        # A file or a few for each date, by size, instead of one from each Kafka partition.
        .hint("rebalance", "event_date")
        .write.mode("append")
        .partitionBy("event_date")
        .parquet(str(folder))
    )
    return counts.get


def _rows_per_day(log: OffsetLog) -> pl.DataFrame:
    return log.scan(COLUMNS).group_by(day_of("event_time_ms")).agg(pl.len().alias("rows")).sort("day").collect()
