"""The Spark session and the stream of records. The settings that were measured to matter are explained here."""

import json
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.folders import SPARK_JARS
from fraud_io.stream_start import StreamStart

_CHECKPOINTING = "org.apache.spark.sql.execution.streaming.checkpointing"


def session(settings: Settings) -> SparkSession:
    """Start Spark in this process's Java machine. Raises OperatorError when the connector's jars are missing."""
    jars = sorted(str(jar) for jar in SPARK_JARS.glob("*.jar"))
    if not jars:
        raise OperatorError(f"no jars of Spark's Kafka connector in {SPARK_JARS}: call ./run up once, it fetches them")
    options = {
        "spark.jars": ",".join(jars),
        "spark.driver.extraClassPath": ":".join(jars),
        "spark.driver.memory": settings.spark_memory,
        # The serial collector takes 100 MB less. The first compiler alone would take half the processor time of the
        # first minutes, but up to twice as long for every micro-batch after them.
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",
        "spark.driver.host": settings.spark_driver_host,
        "spark.driver.bindAddress": settings.spark_driver_host,
        # Executors elsewhere have the jars at the same place: they are in the image.
        "spark.executor.extraClassPath": ":".join(jars),
        "spark.executor.memory": settings.spark_memory,
        "spark.executor.extraJavaOptions": "-XX:+UseSerialGC",
        "spark.sql.warehouse.dir": str(settings.home.absolute() / "spark-warehouse"),
        "spark.sql.session.timeZone": "UTC",
        # Each checkpoint file costs 30 to 50 ms with the defaults: Hadoop forks chmod for it, writes a checksum file
        # beside it and goes through FileContext. With these three it is under 3 ms, which makes the median latency
        # 110 instead of 450 ms.
        "spark.sql.streaming.checkpointFileManagerClass": f"{_CHECKPOINTING}.FileSystemBasedCheckpointFileManager",
        "spark.sql.streaming.checkpoint.fileChecksum.enabled": "false",
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        # Spark's Kafka reader generates the code of its row conversion anew in every task; interpreting it instead
        # takes a fifth off the processor time of a small micro-batch.
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        # Costs a stack trace per DataFrame call.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        # A job that runs for months keeps the memory of its first hour.
        "spark.ui.port": str(settings.spark_ui_port),
        "spark.ui.retainedJobs": "100",
        "spark.ui.retainedStages": "100",
        "spark.sql.ui.retainedExecutions": "50",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.appName("fraud-stream").master(settings.spark_master)
    for name, value in options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


def _check_names(spark: SparkSession, settings: Settings) -> None:
    """Java only warns of a setting that it does not know, and goes on without it."""
    java: Any = spark.sparkContext._jvm
    known = java.org.apache.kafka.clients.consumer.ConsumerConfig.configNames()
    if unknown := sorted(settings.client_options.both - set(known)):
        raise OperatorError(
            f"Spark's Kafka client does not know {unknown[0]} of the file of FRAUD_KAFKA_CLIENT_FILE: write "
            f"librdkafka.{unknown[0]} there, and what Java calls it as java.NAME (docs/operations.md)"
        )


def transactions(spark: SparkSession, settings: Settings, start: StreamStart | None) -> DataFrame:
    """The stream of records of the transactions topic, with the columns of scorer.SCHEMA.

    start : where a new stream begins; None: with all of the topic.
    """
    _check_names(spark, settings)
    mine, name = settings.scored_partitions, settings.topics.transactions
    topic = ("subscribe", name) if mine is None else ("assign", json.dumps({name: sorted(mine)}))
    return (
        spark.readStream.format("kafka")
        .options(**settings.spark_kafka())
        .option(*topic)
        .option("startingOffsets", json.dumps({name: start.decided_from}) if start else "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", str(settings.max_offsets_per_trigger))
        # After each read Spark asks the broker for the ends of the partition, on the connection on which the consumer
        # has already sent its next fetch; the broker answers in order, and lets that fetch wait for new records. With
        # the default of 500 ms a quiet partition holds up a micro-batch for a second.
        .option("kafka.fetch.max.wait.ms", "1")
        .load()
        .select("key", "value", "partition", "offset", "timestamp")
    )
