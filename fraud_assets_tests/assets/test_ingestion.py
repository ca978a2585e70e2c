import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from fraud_assets.decoding import decode_batches
from fraud_assets.definitions import build_defs
from fraud_assets.lake.io_managers import IngestedIOManager
from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.resources import KafkaResource
from fraud_assets_tests.assets.conftest import PARTITION
from fraud_assets_tests.assets.fake_kafka import FakeKafka
from fraud_core.decisions.prediction import Decisions, encode_predictions
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import LABEL_COLUMNS, encode_feedback
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import COLUMNS, encode_transaction
from fraud_core.settings import Settings
from fraud_io.kafka.errors import KafkaUnavailableError

pytestmark = pytest.mark.assets

NOON_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z


def transaction(number: int) -> bytes:
    return encode_transaction(
        {
            "transaction_id": f"t{number}",
            "user_id": "u1",
            "merchant_id": "m1",
            "amount": 15.37,
            "currency": "EUR",
            "event_time_ms": NOON_MS,
        }
    )


def materialize(
    settings: Settings, kafka: KafkaResource, asset: str, job_name: str = "daily_training"
) -> dict[str, object]:
    """Run one ingestion asset; the metadata it reports."""
    job = build_defs(settings, {"kafka": kafka, "mlflow": None}).resolve_job_def(job_name)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            partition_key=PARTITION, asset_selection=[dg.AssetKey(asset)], instance=instance
        )
    [materialization] = result.asset_materializations_for_node(asset)
    return {name: entry.value for name, entry in materialization.metadata.items()}


def test_each_message_becomes_a_row_or_a_refusal():
    values = [transaction(1), b"nope", None, transaction(2), b"{}"]
    batch = pa.RecordBatch.from_pydict(
        {
            "value": pa.array(values, pa.binary()),
            "partition": pa.array([3] * 5, pa.int32()),
            "offset": pa.array(range(5), pa.int64()),
            "ingest_time_ms": pa.array([NOON_MS] * 5, pa.int64()),
        }
    )
    rows = pl.from_arrow(pa.Table.from_batches(decode_batches(iter([batch]), ReadingRules(0))))
    assert list(rows.schema) == [*COLUMNS, "event_date", "refusal"]
    accepted = rows.filter(pl.col("refusal").is_null())
    assert accepted["offset"].to_list() == [0, 3]
    assert accepted["amount_minor"].to_list() == [1537, 1537]
    assert set(accepted["event_date"]) == {"2026-03-01"}
    assert rows["refusal"].drop_nulls().to_list() == ["not JSON", "no value", "schema"]


def test_a_batch_without_messages_gives_no_rows():
    assert list(decode_batches(iter([]), ReadingRules(0))) == []


def test_labels_are_read_once_and_the_second_run_says_that_there_is_nothing_new(tmp_path):
    settings = Settings(home=tmp_path)
    topic = [encode_feedback(f"t{n}", n == 0, "analyst", NOON_MS).decode() for n in range(3)]
    kafka = FakeKafka(settings=settings, topics={"fraud_feedback": [*topic, "nope"]})
    first, second = (materialize(settings, kafka, "labels") for _ in range(2))
    assert (first["new_rows"], first["new_refused"], first["dagster/row_count"], first["frauds"]) == (3, 1, 3, 1)
    assert (second["new_rows"], second["new_refused"], second["dagster/row_count"]) == (0, 0, 3)
    known = OffsetLog(settings.lake / "labels").scan(LABEL_COLUMNS).collect()
    assert sorted(known["offset"]) == [0, 1, 2]


def test_a_transaction_decided_or_sent_twice_is_one_prediction_for_whoever_reads_them(tmp_path):
    settings = Settings(home=tmp_path)
    rows = pl.DataFrame(
        [
            {
                "transaction_id": f"t{n}",
                "user_id": "u",
                "merchant_id": "m",
                "amount_minor": 1,
                "currency": "EUR",
                "event_time_ms": 0,
                "ingest_time_ms": 0,
                "partition": 0,
                "offset": n,
            }
            for n in range(4)
        ],
        schema=COLUMNS,
    )
    decisions = Decisions(None, None, np.zeros(4, dtype=bool), 1.0, model_is_confirmed=True)
    encoded = encode_predictions(rows, np.zeros((4, len(FEATURES))), decisions, {}, [None] * 4, repeats={3})
    values = [value.decode() for value in encoded]
    kafka = FakeKafka(settings=settings, topics={"fraud_predictions": [*values, values[0]]})
    first, second = (materialize(settings, kafka, "predictions", "monitoring") for _ in range(2))
    assert (first["new_rows"], first["dagster/row_count"], first["in_review_sample"]) == (5, 5, 5)
    assert first["rows_by_model_version"] == {"none": 5}
    assert (second["new_rows"], second["dagster/row_count"]) == (0, 5)
    read = IngestedIOManager(lake=str(settings.lake)).load_input(dg.build_input_context(asset_key="predictions"))
    assert sorted(read["transaction_id"]) == ["t0", "t1", "t2"]


def test_without_new_transactions_the_asset_succeeds_and_starts_no_spark(tmp_path):
    settings = Settings(home=tmp_path)
    metadata = materialize(settings, FakeKafka(settings=settings, topics={"transactions": []}), "transactions")
    assert (metadata["new_rows"], metadata["dagster/row_count"], metadata["days_covered"]) == (0, 0, 0)


def test_a_dead_broker_is_named_with_what_to_do():
    kafka = KafkaResource(settings=Settings(kafka_port=1), timeout_s=1)
    with pytest.raises(
        KafkaUnavailableError, match=r"Kafka at 127.0.0.1:1 does not answer .*: start the stack with ./run up"
    ):
        kafka.offsets("transactions")


def test_a_dead_mlflow_server_fails_the_run_at_once_and_is_named_with_what_to_do(tmp_path):
    settings = Settings(home=tmp_path, mlflow_port=1)
    job = build_defs(settings).resolve_job_def("daily_training")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.DagsterResourceFunctionError) as raised:
        job.execute_in_process(partition_key=PARTITION, instance=instance)
    assert "MLflow at http://127.0.0.1:1 does not answer" in str(raised.value.__cause__)
