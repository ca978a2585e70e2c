"""Following the registry: promotions reach the stream, failures do not."""

import json
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb
from prometheus_client import generate_latest

from fraud_assets_tests.streaming.parts import FolderRegistry, booster, card, model
from fraud_core.features.table import FEATURES
from fraud_core.model.digests import digests
from fraud_io.model_registry import Entry, ModelRegistry
from fraud_stack.stream_status import describe
from streaming import metrics
from streaming.models.model_cache import ModelCache, Models
from streaming.models.model_source import ModelSource

pytestmark = pytest.mark.streaming

ROWS = np.random.default_rng(0).random((20, len(FEATURES)))


@pytest.fixture
def registry(tmp_path):
    registry = FolderRegistry(tmp_path / "registry")
    for version in ("1", "2", "3"):
        registry.register(version, seed=int(version))
    return registry


@pytest.fixture
def source(registry, tmp_path):
    return ModelSource(registry, tmp_path / "cache", 0.01, "EUR")


def versions(models: Models) -> tuple[str | None, str | None]:
    return tuple(served and served.version for served in (models.champion, models.challenger))


def test_a_promoted_version_is_served_and_scores_as_it_was_trained(registry, source):
    source.look()
    assert versions(source.current) == (None, None)
    registry.roles = {"champion": "1", "challenger": "2"}
    source.look()
    assert versions(source.current) == ("1", "2")
    assert np.array_equal(source.current.champion.model.score(ROWS), model(1).score(ROWS))
    registry.roles = {"champion": "2"}
    source.look()
    assert versions(source.current) == ("2", None)
    assert registry.downloads == 2


def test_a_model_that_was_trained_in_another_currency_is_refused_and_the_last_good_one_serves(registry, source, caplog):
    registry.register("7", 7, replace(card(), currency="USD"))
    registry.roles = {"champion": "1"}
    source.look()
    registry.roles = {"champion": "7"}
    source.look()
    assert versions(source.current) == ("1", None)
    assert "trained on amounts in USD, and FRAUD_CURRENCY is EUR" in caplog.text


def test_the_last_good_models_serve_while_the_registry_is_down(registry, source):
    registry.roles = {"champion": "1"}
    source.look()
    registry.is_up = False
    source.look()
    assert versions(source.current) == ("1", None)
    assert metrics.REGISTRY_UP._value.get() == 0
    registry.is_up, registry.roles = True, {"champion": "2"}
    source.look()
    assert versions(source.current) == ("2", None)


def test_after_a_restart_the_cache_serves_while_the_registry_is_down(registry, source, tmp_path):
    registry.roles = {"champion": "1", "challenger": "2"}
    source.look()
    registry.is_up = False
    restarted = ModelSource(registry, tmp_path / "cache", 0.01, "EUR")
    restarted.restore("1", "3")
    restarted.look()
    assert versions(restarted.current) == ("1", None)
    assert np.array_equal(restarted.current.champion.model.score(ROWS), model(1).score(ROWS))


def test_a_version_of_another_registry_is_not_served_from_the_cache(registry, source, tmp_path):
    registry.roles = {"champion": "1"}
    source.look()
    other = FolderRegistry(tmp_path / "other")
    other.register("1", seed=9)
    other.roles = {"champion": "1"}
    restarted = ModelSource(other, tmp_path / "cache", 0.01, "EUR")
    restarted.restore("1", None)
    restarted.look()
    assert np.array_equal(restarted.current.champion.model.score(ROWS), model(9).score(ROWS))


@pytest.mark.parametrize(
    "bad", [card(features=("amount", "something_else")), card(feature_hash="0123456789abcdef")], ids=["list", "hash"]
)
def test_a_model_with_other_features_is_refused_and_the_last_good_one_serves(registry, source, bad, caplog):
    registry.roles = {"champion": "1"}
    source.look()
    registry.register("4", seed=4, model_card=bad)
    registry.roles = {"champion": "4", "challenger": "2"}
    refused = metrics.REFUSED_MODELS._value.get()
    for _ in range(3):
        source.look()
    assert versions(source.current) == ("1", "2")
    assert metrics.REFUSED_MODELS._value.get() == refused + 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_a_version_to_replay_with_is_waited_for(registry, source):
    registry.is_up = False
    found = []
    waiting = threading.Thread(target=lambda: found.append(source.get("3", threading.Event())))
    waiting.start()
    waiting.join(0.1)
    assert found == []
    registry.is_up = True
    waiting.join(10)
    assert [served.version for served in found] == ["3"]


def test_a_download_cut_short_leaves_nothing_in_the_cache(registry, source, tmp_path):
    registry.roles = {"champion": "1"}

    def torn(version, entry):
        raise OSError("connection reset")

    complete, registry.load = registry.load, torn
    source.look()
    assert list(tmp_path.glob("cache/*")) == []
    registry.load = complete
    source.look()
    assert versions(source.current) == ("1", None)


@pytest.fixture
def mlflow_registry(tmp_path):
    """A registry in SQLite and files; ``add(seed)`` registers a model as training does, and returns its version."""
    import mlflow
    import mlflow.xgboost

    registry = ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", "fraud-detector")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = mlflow.create_experiment("fraud", artifact_location=str(tmp_path / "artifacts"))

    def add(seed: int, with_digests: bool = True) -> str:
        with mlflow.start_run(experiment_id=experiment) as run:
            logged = mlflow.xgboost.log_model(
                booster(seed), name="model", model_format="ubj", pip_requirements=["xgboost"], metadata=card().to_dict()
            )
        tags = digests(bytes(booster(seed).save_raw("ubj")), card().to_dict()) if with_digests else {}
        if not registry.client.search_registered_models():
            registry.client.create_registered_model("fraud-detector")
        return str(
            registry.client.create_model_version(
                "fraud-detector", logged.model_uri, run.info.run_id, tags=tags, model_id=logged.model_id
            ).version
        )

    registry.add = add
    registry.promote = lambda version: registry.client.set_registered_model_alias("fraud-detector", "champion", version)
    return registry


def test_a_model_logged_in_mlflow_is_served_as_it_was_trained(mlflow_registry, tmp_path):
    source = ModelSource(mlflow_registry, tmp_path / "cache", 0.01, "EUR")
    source.look()
    assert versions(source.current) == (None, None)
    version = mlflow_registry.add(5)
    source.look()
    assert versions(source.current) == (None, None)
    mlflow_registry.promote(version)
    source.look()
    assert versions(source.current) == (version, None)
    assert source.current.champion.model.card == card()
    assert np.array_equal(source.current.champion.model.score(ROWS), model(5).score(ROWS))


def other_trees(folder):
    booster(9).save_model(folder / "model.ubj")


def other_threshold(folder):
    description = folder / "MLmodel"
    text = description.read_text()
    assert "threshold: 0.4" in text
    description.write_text(text.replace("threshold: 0.4", "threshold: 0.99"))


def no_description(folder):
    (folder / "MLmodel").write_text("{")


@pytest.mark.parametrize("tamper", [other_trees, other_threshold, no_description])
def test_a_model_whose_files_were_changed_is_refused_the_last_good_one_serves_and_an_alarm_shows(
    mlflow_registry, tmp_path, tamper, caplog
):
    first, second = mlflow_registry.add(1), mlflow_registry.add(2)
    mlflow_registry.promote(first)
    source = ModelSource(mlflow_registry, tmp_path / "cache", 0.01, "EUR")
    source.look()
    for folder in (file.parent for file in (tmp_path / "artifacts").rglob("MLmodel")):
        if xgb.Booster(model_file=folder / "model.ubj").save_raw("ubj") == booster(2).save_raw("ubj"):
            tamper(folder)
    mlflow_registry.promote(second)
    source.look()
    assert versions(source.current) == (first, None)
    assert not source.current.is_confirmed
    assert np.array_equal(source.current.champion.model.score(ROWS), model(1).score(ROWS))
    assert f"model version {second} is refused" in caplog.text
    assert alarms() == [f"champion {second}"]

    mlflow_registry.promote(first)
    source.look()
    assert source.current.is_confirmed
    assert alarms() == []


def test_a_version_without_digests_is_refused(mlflow_registry, tmp_path, caplog):
    mlflow_registry.promote(mlflow_registry.add(1, with_digests=False))
    source = ModelSource(mlflow_registry, tmp_path / "cache", 0.01, "EUR")
    source.look()
    assert versions(source.current) == (None, None)
    assert "the registry names no sha256_model_ubj and no sha256_card of it" in caplog.text


def test_a_file_of_the_cache_that_was_changed_is_fetched_again(registry, source, tmp_path):
    registry.roles = {"champion": "1"}
    source.look()
    booster(9).save_model(tmp_path / "cache" / "1" / "model.ubj")
    restarted = ModelSource(registry, tmp_path / "cache", 0.01, "EUR")
    restarted.restore("1", None)
    assert versions(restarted.current) == (None, None)
    restarted.look()
    assert np.array_equal(restarted.current.champion.model.score(ROWS), model(1).score(ROWS))
    assert registry.downloads == 2


def alarms() -> list[str]:
    """What ./run status shows of the metrics, shortened to role and version."""
    lines = describe(generate_latest().decode(), 0.0)
    found = [line for line in lines if line.startswith("ALARM")]
    return [re.sub(r"ALARM +the registry names version (\S+) as (\S+);.*", r"\2 \1", line) for line in found]


def test_a_server_that_is_down_fails_fast(tmp_path):
    source = ModelSource(ModelRegistry("http://127.0.0.1:1", "fraud-detector"), tmp_path, 0.01, "EUR")
    source.look()
    assert source.has_looked.is_set()
    assert versions(source.current) == (None, None)


def test_a_cache_folder_of_the_version_before_is_served(tmp_path):
    folder = tmp_path / "cache" / "7"
    folder.mkdir(parents=True)
    booster(5).save_model(folder / "model.ubj")
    found = digests((folder / "model.ubj").read_bytes(), card().to_dict())
    description = {"run_id": "a run", "digests": found, "card": card().to_dict()}
    (folder / "model.json").write_text(json.dumps(description))
    cache = ModelCache(tmp_path / "cache", "EUR")
    assert cache.entry("7") == Entry("a run", found)
    assert np.array_equal(cache.get("7").model.score(ROWS), model(5).score(ROWS))


def test_a_version_is_kept_in_two_files_that_anybody_may_check(registry, source, tmp_path):
    registry.roles = {"champion": "1"}
    source.look()
    folder = tmp_path / "cache" / "1"
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["1", "model.json", "model.ubj"]
    description = json.loads((folder / "model.json").read_text())
    assert sorted(description) == ["card", "digests", "run_id"]
    assert digests((folder / "model.ubj").read_bytes(), description["card"]) == description["digests"]
