"""The services the assets work with: Kafka, Spark, MLflow. Each is reached only when an asset uses it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from dagster_pyspark import LazyPySparkResource
from pydantic import Field

from fraud_assets.lake.offset_log import OffsetRange, Offsets
from fraud_core.settings import Settings
from fraud_io.folders import ROOT, SPARK_JARS
from fraud_io.kafka_errors import KafkaRefusals
from fraud_io.mlflow_client import fail_fast, in_words

# Dagster sets it on a run that does only what its parent did not finish.
RESUMED_TAG = "dagster/is_resume_retry"


class KafkaResource(dg.ConfigurableResource):
    """Reads offsets and bounded ranges of messages. Never joins a consumer group, never commits, never writes.

    Through librdkafka, which reads every compression a producer may have chosen.
    """

    settings: dg.ResourceDependency[Settings]
    timeout_s: float = Field(default=10.0, gt=0, description="per call, and without a new message, in seconds")

    def offsets(self, topic: str) -> tuple[Offsets, Offsets]:
        """First offset kept and next offset to be written, by partition.

        LookupError when there is no such topic or it may not be read, ConnectionError when no broker answers.
        """
        with self._consumer() as consumer:
            known = consumer.list_topics(topic, self.timeout_s).topics[topic]
            partitions = known.partitions
            if not partitions:
                raise LookupError(KafkaRefusals(self.settings).of_topic(topic, known.error))
            bounds = {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), self.timeout_s)
                for partition in sorted(partitions)
            }
        return {p: first for p, (first, _) in bounds.items()}, {p: end for p, (_, end) in bounds.items()}

    def messages(self, topic: str, offsets: OffsetRange) -> Iterator[Message]:
        """The messages of the range, partition by partition. TimeoutError when they stop coming before its end."""
        with self._consumer() as consumer:
            for partition, end in offsets.end.items():
                at = offsets.start[partition]
                consumer.assign([TopicPartition(topic, partition, at)])
                while at < end:
                    message = consumer.poll(self.timeout_s)
                    if message is None:
                        raise TimeoutError(
                            f"Kafka sent nothing of {topic} partition {partition} from offset {at} on for "
                            f"{self.timeout_s:g} s; {end} was to be reached"
                        )
                    if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                        break  # the last offsets hold no message: compaction, or a transaction marker
                    if message.error():
                        raise KafkaException(message.error())
                    if message.offset() < end:
                        yield message
                    at = message.offset() + 1

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        refusals = KafkaRefusals(self.settings)
        consumer = Consumer(
            {
                **self.settings.confluent_kafka(),
                "error_cb": refusals.note,
                "group.id": "fraud-assets",  # librdkafka requires a group name; only subscribing would join the group
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        try:
            yield consumer
        except KafkaException as error:
            consumer.poll(0)
            raise ConnectionError(refusals.of_call(error.args[0])) from error
        finally:
            consumer.close()


def spark_resource(settings: Settings) -> LazyPySparkResource:
    """A small local Spark session, started when an asset first asks for it."""
    jars = sorted(str(jar) for jar in SPARK_JARS.glob("*.jar"))
    return LazyPySparkResource(
        spark_config={
            "spark.app.name": "fraud-assets",
            "spark.master": "local[2]",
            "spark.driver.memory": settings.spark_memory,
            # The session lives for one read: the second compiler and parallel collectors cost more than they save.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraClassPath": ":".join(jars),
            # Without its native library Hadoop forks `chmod` for every file.
            "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
            "spark.executorEnv.PYTHONPATH": str(ROOT),
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": str(settings.home.absolute() / "spark-warehouse"),
            # Thousands of rows a batch, as the decoder wants them, and yet little memory for the worker.
            "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
    )


def mlflow_resource(settings: Settings) -> dg.ResourceDefinition:
    """dagster-mlflow's tracking: one MLflow run per Dagster run; a re-execution from where it failed continues it.

    Fails within seconds, naming the address, when the server does not answer.
    """

    @dg.resource(description=f"One MLflow run per Dagster run, at {settings.mlflow_address}.")
    def mlflow(context: dg.InitResourceContext) -> Iterator[object]:
        # Here and not above: the import takes seconds, and the code location is loaded in every process.
        import mlflow
        from dagster_mlflow import mlflow_tracking
        from mlflow.exceptions import MlflowException

        fail_fast()
        mlflow.set_tracking_uri(settings.mlflow_address)
        run = context.run
        resumed = run.parent_run_id if run.tags.get(RESUMED_TAG) == "true" else None
        try:
            experiment = mlflow.set_experiment(settings.experiment_name)
            of_parent = f"tags.dagster_run_id = '{resumed}'"
            begun = mlflow.MlflowClient().search_runs([experiment.experiment_id], of_parent) if resumed else []
        except MlflowException as error:
            raise ConnectionError(in_words(error, settings.mlflow_address)) from error
        config = {
            "experiment_name": settings.experiment_name,
            "mlflow_tracking_uri": settings.mlflow_address,
            "mlflow_run_id": begun[0].info.run_id if begun else None,
            "extra_tags": {"dagster_partition": run.tags.get("dagster/partition", "")},
        }
        yield from mlflow_tracking.resource_fn(context.replace_config(config))
        # The hook of the job has ended the MLflow run; for assets materialized by hand nothing else does.
        mlflow.end_run()

    return mlflow


def _end_mlflow_run(context: dg.HookContext, events: list[dg.DagsterEvent]) -> object:
    from dagster_mlflow import end_mlflow_on_run_finished

    return end_mlflow_on_run_finished.hook_fn(context, events)


# dagster-mlflow's hook, imported only when a step has ended.
end_mlflow_on_run_finished = dg.HookDefinition(
    name="end_mlflow_on_run_finished", hook_fn=_end_mlflow_run, required_resource_keys={"mlflow"}
)
