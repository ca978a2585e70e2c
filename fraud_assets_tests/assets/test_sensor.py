import json
from pathlib import Path

import dagster as dg
import pytest

from fraud_assets.definitions import build_defs
from fraud_assets.offset_log import OffsetLog, OffsetRange
from fraud_assets.sensors import ENOUGH_LABELS
from fraud_assets_tests.assets.fake_kafka import FakeKafka
from fraud_core.settings import Settings

pytestmark = pytest.mark.assets


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(settings: Settings, instance: dg.DagsterInstance, labels: int, cursor: str | None = None):
    """One look at a feedback topic that holds ``labels`` messages."""
    kafka = FakeKafka(settings=settings, topics={"fraud_feedback": [""] * labels})
    code = build_defs(settings).get_repository_def()
    resources = {"kafka": kafka, "settings": settings}
    with dg.build_sensor_context(instance, cursor, repository_def=code, resources=resources) as context:
        return code.get_sensor_def("feedback_sensor").evaluate_tick(context)


def read_labels(settings: Settings, count: int) -> None:
    """As a run of the job does."""
    log = OffsetLog(settings.lake / "labels")
    with log.append(log.pending({0: 0}, {0: count})):
        pass


def test_the_first_model_is_not_the_sensors_to_train(settings, instance):
    asked = tick(settings, instance, labels=10 * ENOUGH_LABELS)
    assert not asked.run_requests
    assert "the first one is not this sensor's" in asked.skip_message


def test_too_few_new_labels_train_nothing_and_leave_the_cursor(settings, instance):
    read_labels(settings, 50)
    asked = tick(settings, instance, labels=50 + ENOUGH_LABELS - 1)
    assert not asked.run_requests
    assert asked.cursor is None


def test_enough_new_labels_ask_for_the_latest_complete_day(settings, instance):
    read_labels(settings, 50)
    asked = tick(settings, instance, labels=50 + ENOUGH_LABELS)
    partitions = build_defs(settings).resolve_job_def("daily_training").partitions_def
    assert [request.partition_key for request in asked.run_requests] == [partitions.get_last_partition_key()]
    assert json.loads(asked.cursor) == {"0": 50 + ENOUGH_LABELS}


def test_the_same_offsets_give_the_same_run_key_so_a_replayed_tick_cannot_retrain_twice(settings, instance):
    read_labels(settings, 50)
    first, replayed = (tick(settings, instance, labels=2 * ENOUGH_LABELS) for _ in range(2))
    more = tick(settings, instance, labels=2 * ENOUGH_LABELS + 1)
    assert first.run_requests[0].run_key == replayed.run_requests[0].run_key
    assert first.run_requests[0].run_key != more.run_requests[0].run_key


def test_labels_that_a_run_was_asked_for_are_not_new_again(settings, instance):
    read_labels(settings, 50)
    asked = tick(settings, instance, labels=2 * ENOUGH_LABELS)
    assert not tick(settings, instance, labels=2 * ENOUGH_LABELS + 5, cursor=asked.cursor).run_requests


def test_labels_that_the_daily_run_has_read_are_not_new(settings, instance):
    read_labels(settings, 50)
    read_labels(settings, 2 * ENOUGH_LABELS)
    assert not tick(settings, instance, labels=2 * ENOUGH_LABELS).run_requests


def test_a_run_of_the_last_hours_is_not_followed_by_another(settings, instance):
    read_labels(settings, 50)
    instance.create_run_for_job(build_defs(settings).resolve_job_def("daily_training"))
    asked = tick(settings, instance, labels=2 * ENOUGH_LABELS)
    assert not asked.run_requests
    assert asked.cursor is None
    assert "ran within" in asked.skip_message


def test_the_read_position_is_the_end_of_the_last_range(settings):
    read_labels(settings, 50)
    read_labels(settings, 70)
    assert OffsetLog(settings.lake / "labels").ranges() == [OffsetRange({0: 0}, {0: 50}), OffsetRange({0: 50}, {0: 70})]
