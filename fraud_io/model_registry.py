"""Reads MLflow's model registry: which version has which role, where it comes from, and its verified files.

Nothing is changed here: versions are made and moved by fraud_assets.registry.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from fraud_core.model.digests import CARD, TREES, require_digests
from fraud_core.model.stored import StoredModel
from fraud_io.mlflow_client import NotInMlflowError, errors_in_words, fail_fast

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Entry:
    """A version as it was registered: the run it comes from, which tells it from one of the same number in another
    registry, and its digests by name (digests)."""

    run_id: str
    digests: dict[str, str]


class ModelRegistry:
    """Versions of one model, by number. Methods raise MlflowError, an OSError, when MLflow does not answer within
    seconds or refuses. Imports MLflow on first use, which takes seconds."""

    def __init__(self, address: str, model_name: str) -> None:
        self._address = address
        self._name = model_name

    @cached_property
    def client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        fail_fast()
        return MlflowClient(self._address)

    def aliases(self) -> dict[str, str]:
        """Version by role (roles); empty when no model of that name was ever registered."""
        try:
            with errors_in_words(self._address):
                found = self.client.get_registered_model(self._name).aliases
        except NotInMlflowError:
            return {}
        return {role: str(version) for role, version in found.items()}

    def entry(self, version: str) -> Entry:
        with errors_in_words(self._address):
            found = self.client.get_model_version(self._name, version)
        # Training registers a version from its run.
        return Entry(cast(str, found.run_id), {name: found.tags[name] for name in (TREES, CARD) if name in found.tags})

    def metrics(self, version: str) -> dict[str, float]:
        """What the run that a version comes from has logged."""
        run_id = self.entry(version).run_id
        with errors_in_words(self._address):
            return self.client.get_run(run_id).data.metrics

    def load(self, version: str, entry: Entry) -> StoredModel:
        """Download a version. ValueError when it holds no model of ours, or not the files that ``entry`` names."""
        import mlflow

        fail_fast()
        mlflow.set_tracking_uri(self._address)  # the address of a version is looked up there, whatever a call is given
        with TemporaryDirectory() as folder:
            with errors_in_words(self._address):
                source = mlflow.artifacts.download_artifacts(f"models:/{self._name}/{version}", dst_path=folder)
            model = _read(Path(source))
        require_digests(model.ubj, model.card, entry.digests)
        return model


def _read(folder: Path) -> StoredModel:
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from yaml import YAMLError

    try:
        description = Model.load(folder)
        file = folder / description.flavors["xgboost"]["data"]
    except (MlflowException, YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("it holds no XGBoost model: register it through the training job") from error
    if not description.metadata:
        raise ValueError("it holds no model card: register it through the training job")
    return StoredModel(file.read_bytes(), description.metadata)
