"""Labels from the topic to whoever uses them: once each whatever dies, without those that are in quarantine."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_assets.assets.ingestion import labels as labels_asset
from fraud_assets.assets.ingestion.labels import rows_by_source
from fraud_assets.definitions import build_defs
from fraud_assets.lake.io_managers import IngestedIOManager
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets_tests.assets.conftest import PARTITION
from fraud_assets_tests.assets.fake_kafka import FakeKafka
from fraud_core.labels.feedback_rules import RULES
from fraud_core.labels.known import LABEL_COLUMNS, encode_feedback
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS, HOUR_MS, SECOND_MS
from fraud_io.kafka.errors import KafkaUnavailableError
from fraud_io.quarantine_log import QuarantineLog

pytestmark = pytest.mark.assets

FIRST_DAY, DAYS = 20_000, 20
END_MS = (FIRST_DAY + DAYS) * DAY_MS
ENOUGH = 100
TRAINED_MS = 20_600 * DAY_MS


def run(home: Settings, kafka: FakeKafka, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_defs(home, {"kafka": kafka, "mlflow": None}).resolve_job_def("daily_training")
    asset = [dg.AssetKey("labels")]
    return job.execute_in_process(
        partition_key=PARTITION, asset_selection=asset, instance=instance, raise_on_error=False
    )


def handed_out(home: Settings) -> pl.DataFrame:
    return IngestedIOManager(lake=str(home.lake)).load_input(dg.build_input_context(asset_key="labels"))


class DyingKafka(FakeKafka):
    """Sends some messages, then nothing more."""

    sends: int

    def messages(self, topic: str, offsets: TopicRange):
        for number, message in enumerate(super().messages(topic, offsets)):
            if number == self.sends:
                raise KafkaUnavailableError("Kafka sent nothing")
            yield message


class Feed:
    """A feedback topic that grows, the runs and the sensor that follow it, and what may die meanwhile."""

    def __init__(self, home: Path) -> None:
        self.home, self.topic, self.cursor, self.run_keys = Settings(home=home, retrain_labels=ENOUGH), [], None, []

    def grow(self, number: int) -> None:
        begin = len(self.topic)
        self.topic += [
            encode_feedback(f"t{begin + n}", True, "customer", TRAINED_MS + DAY_MS + n).decode() for n in range(number)
        ]

    def kafka(self, **changes: object) -> FakeKafka:
        kind = DyingKafka if changes else FakeKafka
        return kind(settings=self.home, topics={"fraud_feedback": self.topic}, **changes)

    def tick(self, instance: dg.DagsterInstance, *, cursor_is_lost: bool) -> None:
        """A look of the sensor; the daemon may die before its cursor is written."""
        code = build_defs(self.home).get_repository_def()
        resources = {"kafka": self.kafka(), "settings": self.home}
        with dg.build_sensor_context(instance, self.cursor, repository_def=code, resources=resources) as context:
            asked = code.get_sensor_def("feedback_sensor").evaluate_tick(context)
        self.run_keys += [request.run_key for request in asked.run_requests or ()]
        if not cursor_is_lost:
            self.cursor = asked.cursor or self.cursor


steps = st.one_of(
    st.tuples(st.just("grow"), st.integers(1, 2 * ENOUGH)),
    st.tuples(st.just("tick"), st.booleans()),
    st.tuples(st.sampled_from(["read", "dies reading", "dies after it wrote"]), st.integers(0, 500)),
)


@settings(max_examples=6)
@given(plan=st.lists(steps, min_size=4, max_size=7))
def test_every_label_is_in_the_lake_once_whatever_dies_between_topic_lake_and_cursor(tmp_path_factory, plan):
    feed = Feed(tmp_path_factory.mktemp("home"))
    log = OffsetLog(feed.home.lake / "labels")
    asked_at: dict[str, int] = {}
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        known = {"as_of": dg.MetadataValue.timestamp(TRAINED_MS / SECOND_MS), "labels_until": {"0": 0}}
        instance.report_runless_asset_event(dg.AssetMaterialization("training_set", metadata=known))
        for step, argument in [("grow", 10), ("read", 0), *plan, ("read", 0)]:
            if step == "grow":
                feed.grow(argument)
            elif step == "tick":
                before = len(feed.run_keys)
                feed.tick(instance, cursor_is_lost=argument)
                for key in feed.run_keys[before:]:
                    # The key is made of the offsets: asked again for the same ones it is the same run to Dagster.
                    assert asked_at.setdefault(key, len(feed.topic)) == len(feed.topic)
            elif step == "dies reading":
                run(feed.home, feed.kafka(sends=argument), instance)
            elif step == "dies after it wrote":
                with patch.context() as dying:
                    dying.setattr(labels_asset, "judge", _dies)
                    assert not run(feed.home, feed.kafka(), instance).success
            else:
                assert run(feed.home, feed.kafka(), instance).success
            offsets = log.scan(LABEL_COLUMNS).collect()["offset"]
            assert sorted(offsets) == list(range(log.position().get(0, 0)))
    assert log.position() == {0: len(feed.topic)}


def _dies(*_: object) -> None:
    raise SystemError("killed")


@pytest.fixture(scope="module")
def simulated() -> tuple[pl.DataFrame, list[str]]:
    """Transactions of some days, and their labels as messages in the order they became known."""
    simulator = Simulator(300, 1)
    transactions, labels = arrived([simulator.day(day) for day in range(FIRST_DAY, FIRST_DAY + DAYS)])
    told = labels.filter(pl.col("label_time_ms") < END_MS)
    columns = ("transaction_id", "is_fraud", "source", "label_time_ms")
    return transactions, [encode_feedback(*row).decode() for row in told.select(columns).iter_rows()]


@pytest.fixture
def lake(tmp_path, simulated) -> Settings:
    home = Settings(home=tmp_path)
    transactions, _ = simulated
    with OffsetLog(home.lake / "transactions").append(TopicRange({0: 0}, {0: len(transactions)})) as folder:
        transactions.write_parquet(folder / "rows.parquet")
    return home


def outcome(result: dg.ExecuteInProcessResult) -> tuple[dict[str, object], dg.AssetCheckEvaluation]:
    assert result.success
    [made] = result.asset_materializations_for_node("labels")
    [check] = result.get_asset_check_evaluations()
    return {name: entry.value for name, entry in made.metadata.items()}, check


def test_odd_labels_are_counted_by_their_rule_and_none_is_thrown_away(lake, simulated):
    (name, event_ms), (other, other_ms) = simulated[0].select("transaction_id", "event_time_ms").head(2).rows()
    told = [
        (name, True, "customer", event_ms - HOUR_MS),  # before its transaction
        (name, True, "analyst", event_ms + DAY_MS),  # repeated
        (name, False, "analyst", event_ms + 9 * DAY_MS),  # contradictory and late
        (other, True, "customer", END_MS + DAY_MS),  # in the future, and late
        ("nobody's", True, "customer", other_ms),  # unknown
    ]
    kafka = FakeKafka(settings=lake, topics={"fraud_feedback": [encode_feedback(*row).decode() for row in told]})
    with dg.DagsterInstance.ephemeral() as instance:
        metadata, check = outcome(run(lake, kafka, instance))
    assert {name: metadata[f"rows_{name}"] for name in (*RULES, "quarantined")} == {
        "before_event": 1,
        "repeated": 1,
        "contradictory": 1,
        "late": 2,
        "future": 1,
        "unknown": 1,
        "quarantined": 0,
    }
    assert check.passed
    assert len(handed_out(lake)) == 5


def test_a_flood_is_read_but_nobody_gets_it_until_a_person_releases_it(lake, simulated):
    transactions, honest = simulated
    noon_ms = END_MS - DAY_MS // 2
    genuine = transactions.filter(pl.col("event_time_ms") < noon_ms).tail(3_000)
    false = [encode_feedback(name, True, "chargeback", noon_ms).decode() for name in genuine["transaction_id"]]
    kafka = FakeKafka(settings=lake, topics={"fraud_feedback": honest})
    flooded = FakeKafka(settings=lake, topics={"fraud_feedback": [*honest, *false]})
    quarantine = QuarantineLog(lake.lake)
    with dg.DagsterInstance.ephemeral() as instance:
        _, check = outcome(run(lake, kafka, instance))
        assert check.passed
        assert quarantine.blocks_promotion() is None

        metadata, check = outcome(run(lake, flooded, instance))
        [batch] = quarantine.held()
        assert not check.passed
        assert check.severity is dg.AssetCheckSeverity.ERROR
        assert check.metadata[batch.name].value == batch.reason
        assert batch.source == "chargeback"
        assert batch.name in quarantine.blocks_promotion()
        assert metadata["dagster/row_count"] == len(honest) + 3_000
        assert metadata["rows_quarantined"] == batch.labels
        assert len(handed_out(lake)) == len(honest) + 3_000 - batch.labels
        assert handed_out(lake).filter(pl.col("label_time_ms") == noon_ms).is_empty()

        quarantine.release(batch.name, "the bank confirmed them", "ann")
        _, check = outcome(run(lake, flooded, instance))
        assert check.passed
        assert len(handed_out(lake)) == len(honest) + 3_000


def test_any_number_of_sources_gives_few_figures():
    known = pl.DataFrame({"source": [f"source {n:02}" for n in range(30) for _ in range(30 - n)]})
    rows = rows_by_source(known)
    assert list(rows) == [*(f"source {n:02}" for n in range(10)), "other"]
    assert sum(rows.values()) == known.height
    assert rows_by_source(known[:30]) == {"source 00": 30}
