import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from fraud_assets.definitions import build_defs
from fraud_assets.partitions import AS_OF_TAG
from fraud_assets_tests.assets.fake_kafka import FakeKafka
from fraud_core.labels.known import encode_feedback
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, HOUR_MS

pytestmark = pytest.mark.assets

NOW_MS = 20_600 * DAY_MS + 13 * HOUR_MS  # 2026-05-27T13:00Z
ENOUGH = 100


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, retrain_labels=ENOUGH)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(
    settings: Settings,
    instance: dg.DagsterInstance,
    labels: int,
    cursor: str | None = None,
    time_ms: int = NOW_MS,
    markers: int = 0,
):
    """One look at a feedback topic that holds ``labels`` messages, the last one of ``time_ms``, and then ``markers``
    of transactions."""
    newest = encode_feedback("t", True, "chargeback", time_ms).decode()
    topic = [*["", *[newest] * (labels - 1)][:labels], *[None] * markers]
    kafka = FakeKafka(settings=settings, topics={"fraud_feedback": topic})
    code = build_defs(settings).get_repository_def()
    resources = {"kafka": kafka, "settings": settings}
    with dg.build_sensor_context(instance, cursor, repository_def=code, resources=resources) as context:
        return code.get_sensor_def("feedback_sensor").evaluate_tick(context)


def train(instance: dg.DagsterInstance, labels: int, as_of_ms: int = NOW_MS - DAY_MS) -> None:
    """As a run of the job reports it."""
    day = datetime.fromtimestamp(as_of_ms / 1000 - 1, UTC).date().isoformat()
    known = {"as_of": dg.MetadataValue.timestamp(as_of_ms / 1000), "labels_until": {"0": labels}}
    instance.report_runless_asset_event(dg.AssetMaterialization("training_set", partition=day, metadata=known))


def test_the_first_model_is_not_the_sensors_to_train(settings, instance):
    asked = tick(settings, instance, labels=10 * ENOUGH)
    assert not asked.run_requests
    assert "this sensor does not start the first one" in asked.skip_message


def test_too_few_new_labels_train_nothing_and_leave_the_cursor(settings, instance):
    train(instance, 50)
    asked = tick(settings, instance, labels=50 + ENOUGH - 1)
    assert not asked.run_requests
    assert asked.cursor is None


def test_enough_new_labels_ask_for_a_training_with_what_is_known_by_the_newest_one(settings, instance):
    train(instance, 50)
    asked = tick(settings, instance, labels=50 + ENOUGH)
    [request] = asked.run_requests
    assert request.partition_key == "2026-05-26"
    assert request.tags[AS_OF_TAG] == "2026-05-27T13:00:00.000Z"
    assert json.loads(asked.cursor) == {"0": 50 + ENOUGH}


def test_offsets_that_transactions_leave_are_no_labels_and_have_no_time(settings, instance):
    train(instance, 50)
    asked = tick(settings, instance, labels=50 + ENOUGH - 1, markers=ENOUGH)
    assert asked.skip_message == f"{ENOUGH - 1} of {ENOUGH} new labels"
    [request] = tick(settings, instance, labels=50 + ENOUGH, markers=3).run_requests
    assert request.tags[AS_OF_TAG] == "2026-05-27T13:00:00.000Z"


def test_a_label_from_the_future_does_not_carry_the_training_there(settings, instance):
    train(instance, 50)
    [request] = tick(settings, instance, labels=50 + ENOUGH, time_ms=NOW_MS * 2).run_requests
    assert datetime.fromisoformat(request.tags[AS_OF_TAG]) <= datetime.now(UTC)


def test_the_same_offsets_give_the_same_run_key_so_a_replayed_tick_cannot_retrain_twice(settings, instance):
    train(instance, 50)
    first, replayed = (tick(settings, instance, labels=2 * ENOUGH) for _ in range(2))
    more = tick(settings, instance, labels=2 * ENOUGH + 1)
    assert first.run_requests[0].run_key == replayed.run_requests[0].run_key
    assert first.run_requests[0].run_key != more.run_requests[0].run_key


def test_labels_that_a_run_was_asked_for_are_not_new_again(settings, instance):
    train(instance, 50)
    asked = tick(settings, instance, labels=2 * ENOUGH)
    assert not tick(settings, instance, labels=2 * ENOUGH + 5, cursor=asked.cursor).run_requests


def test_labels_that_a_training_has_seen_are_not_new(settings, instance):
    train(instance, 50)
    train(instance, 2 * ENOUGH)
    assert not tick(settings, instance, labels=2 * ENOUGH).run_requests


def test_a_training_of_the_last_hours_is_not_followed_by_another(settings, instance):
    train(instance, 50, as_of_ms=NOW_MS - 5 * HOUR_MS)
    asked = tick(settings, instance, labels=2 * ENOUGH)
    assert not asked.run_requests
    assert asked.cursor is None
    assert "trained within 6 hours" in asked.skip_message


def test_a_run_under_way_is_waited_for(settings, instance):
    train(instance, 50)
    instance.create_run_for_job(build_defs(settings).resolve_job_def("daily_training"))
    asked = tick(settings, instance, labels=2 * ENOUGH)
    assert not asked.run_requests
    assert "under way" in asked.skip_message
