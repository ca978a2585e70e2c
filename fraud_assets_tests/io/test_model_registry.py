"""What MLflow's answers, and its silence, mean to whoever reads the registry."""

import os
import re

import mlflow
import numpy as np
import pytest
import xgboost as xgb

from fraud_core.features.table import FEATURES
from fraud_core.model.digests import digests
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.model.stored import StoredModel
from fraud_io.mlflow_client import MlflowError, NotInMlflowError
from fraud_io.model_registry import Entry, ModelRegistry

pytestmark = pytest.mark.assets

NAME = "fraud-detector"


@pytest.fixture(scope="module")
def model() -> StoredModel:
    rows = np.random.default_rng(1).random((20, len(FEATURES)))
    return StoredModel.of(
        FraudModel(xgb.train({"max_depth": 2}, xgb.DMatrix(rows, [0, 1] * 10), 3), ModelCard(0.5, 0.1, (0, 10)))
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory, model):
    """A registry with version 1 as training registers it, and version 2 whose MLmodel names no XGBoost model."""
    home = tmp_path_factory.mktemp("mlflow")
    address = f"sqlite:///{home}/mlflow.db"
    mlflow.set_tracking_uri(address)
    client = mlflow.MlflowClient(address)
    experiment = mlflow.create_experiment("fraud", artifact_location=str(home / "artifacts"))
    client.create_registered_model(NAME)
    for _ in range(2):
        with mlflow.start_run(experiment_id=experiment) as run:
            mlflow.log_metric("test_f2", 0.5)
            logged = mlflow.xgboost.log_model(
                model.booster(), name="model", model_format="ubj", pip_requirements=["xgboost"], metadata=model.card
            )
        tags = {**digests(model.ubj, model.card), "other": "tag"}
        client.create_model_version(NAME, logged.model_uri, run.info.run_id, tags=tags, model_id=logged.model_id)
    [second] = (home / "artifacts").rglob(f"{logged.model_id}/**/MLmodel")
    second.write_text("flavors: {}\n")
    # The reader is told where its registry is, whatever was set before.
    mlflow.set_tracking_uri(f"sqlite:///{home}/another.db")
    return home


@pytest.fixture
def registry(home):
    return ModelRegistry(f"sqlite:///{home}/mlflow.db", NAME)


def test_a_version_is_loaded_with_the_files_that_were_registered(registry, model):
    entry = registry.entry("1")
    assert entry.digests == digests(model.ubj, model.card)
    assert registry.load("1", entry) == model
    assert registry.metrics("1") == {"test_f2": 0.5}


def test_aliases_are_versions_by_role(registry):
    assert registry.aliases() == {}
    for role, version in ((CHAMPION, "1"), (CHALLENGER, "2")):
        registry.client.set_registered_model_alias(NAME, role, version)
    assert registry.aliases() == {"champion": "1", "challenger": "2"}


def test_a_model_nobody_has_registered_yet_has_no_aliases(home):
    assert ModelRegistry(f"sqlite:///{home}/mlflow.db", "another").aliases() == {}


def test_a_version_that_is_not_there_is_told_from_a_registry_that_is_silent(registry):
    with pytest.raises(NotInMlflowError, match=r"MLflow at sqlite:.* refuses: .*version=9"):
        registry.entry("9")


@pytest.mark.parametrize(
    ("version", "recorded", "problem"),
    [
        ("1", {}, "the registry names no sha256_model_ubj and no sha256_card of it"),
        ("1", {"sha256_model_ubj": "0", "sha256_card": "0"}, "its files are not those that were registered"),
        ("2", {}, "it holds no XGBoost model"),
    ],
    ids=["no digests", "other digests", "no model"],
)
def test_files_that_are_not_a_registered_model_are_refused(registry, version, recorded, problem):
    with pytest.raises(ValueError, match=problem):
        registry.load(version, Entry("run", recorded))


@pytest.mark.parametrize("ask", ["aliases", "entry", "metrics", "load"])
def test_a_server_that_is_gone_does_not_answer_and_its_password_is_not_shown(ask):
    registry = ModelRegistry("http://fraud:secret@127.0.0.1:1", NAME)
    arguments = {"aliases": (), "load": ("1", Entry("run", {}))}.get(ask, ("1",))
    with pytest.raises(OSError, match=re.escape("MLflow at http://fraud:***@127.0.0.1:1 does not answer")) as raised:
        getattr(registry, ask)(*arguments)
    assert type(raised.value) is MlflowError


def test_the_limits_of_mlflows_client_hold_whatever_the_environment_says(home, monkeypatch):
    from mlflow.environment_variables import (
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES,
        MLFLOW_HTTP_REQUEST_TIMEOUT,
    )

    monkeypatch.setitem(os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    ModelRegistry(f"sqlite:///{home}/mlflow.db", NAME).aliases()
    assert (MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(), MLFLOW_HTTP_REQUEST_TIMEOUT.get()) == (2, 10)
    assert MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get() is False
