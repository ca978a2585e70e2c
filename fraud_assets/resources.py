"""The services the assets work with: Kafka, Spark, MLflow. Each is reached only when an asset uses it."""

from collections.abc import Iterator
from typing import cast

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import Field

from fraud_assets.lake.offset_log import Offsets, TopicRange
from fraud_core.settings import Settings
from fraud_io.folders import ROOT, SPARK_JARS
from fraud_io.kafka.reader import Record, TopicReader
from fraud_io.mlflow_client import errors_in_words, fail_fast

# Dagster sets it on a run that does only what its parent did not finish.
RESUMED_TAG = "dagster/is_resume_retry"


class KafkaResource(dg.ConfigurableResource):
    """Reads offsets and bounded ranges of messages. Never joins a consumer group, never commits, never writes.

    Raises OperatorError when there is no such topic or it may not be read, and its KafkaUnavailableError when no broker
    answers or messages stop coming before the end of their range.
    """

    settings: dg.ResourceDependency[Settings]
    timeout_s: float = Field(default=10.0, gt=0, description="per call, and without a new message, in seconds")

    def offsets(self, topic: str) -> tuple[Offsets, Offsets]:
        """First offset kept and next offset to be written, by partition."""
        bounds = TopicReader(self.settings, self.timeout_s).bounds(topic)
        return {p: first for p, (first, _) in bounds.items()}, {p: end for p, (_, end) in bounds.items()}

    def messages(self, topic: str, offsets: TopicRange) -> Iterator[Record]:
        """The messages of the range, partition by partition."""
        reader = TopicReader(self.settings, self.timeout_s)
        for partition, end in offsets.end.items():
            yield from reader.read(topic, {partition: (offsets.start[partition], end)})


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

        fail_fast()
        mlflow.set_tracking_uri(settings.mlflow_address)
        run = cast(dg.DagsterRun, context.run)  # nothing asks for it outside a run
        resumed = run.parent_run_id if run.tags.get(RESUMED_TAG) == "true" else None
        with errors_in_words(settings.mlflow_address):
            experiment = mlflow.set_experiment(settings.experiment_name)
            of_parent = f"tags.dagster_run_id = '{resumed}'"
            begun = mlflow.MlflowClient().search_runs([experiment.experiment_id], of_parent) if resumed else []
        config = {
            "experiment_name": settings.experiment_name,
            "mlflow_tracking_uri": settings.mlflow_address,
            "mlflow_run_id": begun[0].info.run_id if begun else None,
            "extra_tags": {"dagster_partition": run.tags.get("dagster/partition", "")},
        }
        of_run = context.replace_config(config)
        yield from mlflow_tracking.resource_fn(of_run)  # type: ignore[call-arg]  # dagster types it without
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
