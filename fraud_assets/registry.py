"""The model registry: stages, aliases and the promotion log. Every call that names a stage is in this file.

MLflow's stages are the lifecycle people know, and deprecated; aliases are what the stream resolves. The two are kept in
step here: ``challenger`` is the version in Staging, ``champion`` the one in Production. When MLflow drops its stages,
only this file changes.
"""

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from fraud_assets.io_managers import StoredModel
from fraud_core.model_digests import digests, require_digests
from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms, now_ms

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from fraud_core.model import FraudModel

Stage = Literal["Staging", "Production", "Archived"]
ALIASES = {"Staging": "challenger", "Production": "champion"}


class Registry:
    """Versions of the model ``settings.model_name``. ``who`` is the actor written to the promotion log."""

    def __init__(self, settings: Settings, who: str) -> None:
        from mlflow import MlflowClient

        self._address = settings.mlflow_address
        self._client = MlflowClient(self._address)
        self._name = settings.model_name
        self._who = who
        self._log = promotion_log(settings)

    def version_of(self, run_id: str) -> str | None:
        """The version registered from an MLflow run."""
        found = self._versions(f"run_id = '{run_id}'")
        return found[0].version if found else None

    def register(self, model: StoredModel, run_id: str, tags: dict[str, str]) -> str:
        """Log the model to the active MLflow run ``run_id`` and make a version of it, in stage None; its number.

        The version's tags hold the digests of its files: neither ``load`` nor the stream takes others.
        """
        import mlflow
        import xgboost
        from mlflow.exceptions import MlflowException

        logged = mlflow.xgboost.log_model(
            model.booster(),
            name="model",
            model_format="ubj",
            # Given, because working them out takes 14 s.
            pip_requirements=[f"xgboost=={xgboost.__version__}"],
            metadata=model.card,
        )
        try:
            self._client.create_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self._client.create_model_version(
            self._name,
            logged.model_uri,
            run_id,
            tags={**tags, **digests(model.ubj, model.card)},
            model_id=logged.model_id,
        )
        return str(made.version)

    def stage(self, version: str) -> str:
        return self._client.get_model_version(self._name, version).current_stage

    def champion(self) -> str | None:
        """The version in Production."""
        if not self._client.search_registered_models(f"name = '{self._name}'"):
            return None
        version = self._client.get_registered_model(self._name).aliases.get(ALIASES["Production"])
        return version and str(version)

    def load(self, version: str) -> StoredModel:
        """ValueError when its files are not those that were registered."""
        import mlflow
        from mlflow.models import Model

        mlflow.set_tracking_uri(self._address)
        with TemporaryDirectory() as folder:
            path = Path(mlflow.artifacts.download_artifacts(f"models:/{self._name}/{version}", dst_path=folder))
            described = Model.load(path)
            model = StoredModel((path / described.flavors["xgboost"]["data"]).read_bytes(), described.metadata)
        require_digests(model.ubj, model.card, self._client.get_model_version(self._name, version).tags)
        return model

    def move(self, version: str, to: Stage, why: str) -> None:
        """Put a version into a stage and its alias with it; the version that was there before is archived.

        Every move is one line of the promotion log. A version that already is in the stage stays as it is.
        """
        if self.stage(version) == to:
            return
        before = [other.version for other in self._versions() if other.current_stage == to]
        self._transition(version, to, why)
        # The alias moves in one step, so the stream never finds none; only then does the stage of the old one change.
        if to in ALIASES:
            self._client.set_registered_model_alias(self._name, ALIASES[to], version)
        for stage, alias in ALIASES.items():
            if stage != to and self._aliases().get(alias) == version:
                self._client.delete_registered_model_alias(self._name, alias)
        for other in before:
            self._transition(other, "Archived", f"version {version} took its place in {to}")

    def _transition(self, version: str, to: Stage, why: str) -> None:
        entry = {
            "at": format_rfc3339_ms(now_ms()),
            "who": self._who,
            "model": self._name,
            "version": str(version),
            "from": self.stage(version),
            "to": to,
            "why": why,
        }
        with warnings.catch_warnings():
            # Stages are deprecated in favour of aliases; why they are used all the same stands at the top.
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(self._name, version, to)
        self._client.set_model_version_tag(self._name, version, f"{to.lower()}_since", entry["at"])
        self._client.set_model_version_tag(self._name, version, f"{to.lower()}_reason", why)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def _aliases(self) -> dict[str, str]:
        return {alias: str(version) for alias, version in self._client.get_registered_model(self._name).aliases.items()}

    def _versions(self, condition: str | None = None) -> "list[ModelVersion]":
        own = f"name = '{self._name}'"
        return list(self._client.search_model_versions(f"{own} and {condition}" if condition else own))


@dataclass(frozen=True)
class Champion:
    """The version in Production, ready to score."""

    version: str
    model: "FraudModel"


def servable_champion(registry: Registry, log: logging.Logger) -> Champion | None:
    """The champion, or None when there is none, or only one that the stream refuses as well: made for other features
    than this code computes, or with other files than were registered. A new model must be able to take its place.
    """
    version = registry.champion()
    if version is None:
        return None
    try:
        return Champion(version, registry.load(version).open())
    except ValueError as error:
        log.warning(f"version {version} in Production counts as none: {error}")
        return None


def promotion_log(settings: Settings) -> Path:
    """JSON Lines, appended to and never rewritten: at, who, model, version, from, to, why."""
    return settings.lake / "promotions.jsonl"
