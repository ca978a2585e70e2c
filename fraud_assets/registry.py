"""Makes versions in the model registry and moves them. Every call that names a stage is in this file.

MLflow's stages are the familiar lifecycle, and deprecated; the stream resolves aliases. The two are kept in
step here: ``challenger`` is the version in Staging, ``champion`` the one in Production. When MLflow drops its stages,
only this file changes.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fraud_core.model.digests import digests
from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.model.stored import StoredModel
from fraud_core.promotion.gates import Trial
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, format_rfc3339_ms, now_ms, parse_rfc3339_ms
from fraud_io.folders import Lake
from fraud_io.json_lines import Append, JsonLines
from fraud_io.model_registry import ModelRegistry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from fraud_core.model.fraud_model import FraudModel

Stage = Literal["Staging", "Production", "Archived"]
ALIASES = {"Staging": CHALLENGER, "Production": CHAMPION}
_ROLLED_BACK = "rolled_back_since"


class Registry:
    """Versions of the model ``settings.model_name``. ``who`` is the actor written to the promotion log."""

    def __init__(self, settings: Settings, who: str) -> None:
        self._reader = ModelRegistry(settings.mlflow_address, settings.model_name)
        self._client = self._reader.client
        self._name = settings.model_name
        self._currency = settings.currency
        self._who = who
        self._log = JsonLines(Lake(settings.lake).promotions)

    def version_of(self, run_id: str) -> str | None:
        """The version registered from an MLflow run."""
        found = self._versions(f"run_id = '{run_id}'")
        return found[0].version if found else None

    def register(self, model: StoredModel, run_id: str, tags: dict[str, str]) -> str:
        """Log the model to the active MLflow run ``run_id`` and make a version of it, in stage None; its number.

        The version's tags hold the digests of its files: ``load`` and the stream refuse any others.
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

    def metrics(self, version: str) -> dict[str, float]:
        """What the run that a version comes from has logged."""
        return self._reader.metrics(version)

    def versions(self) -> list[str]:
        """All of them, oldest first."""
        return sorted((str(found.version) for found in self._versions()), key=int)

    def stage(self, version: str) -> str:
        return str(self._client.get_model_version(self._name, version).current_stage)

    def champion(self) -> str | None:
        """The version in Production."""
        return self._reader.aliases().get(CHAMPION)

    def challenger(self) -> str | None:
        """The version in Staging."""
        return self._reader.aliases().get(CHALLENGER)

    def trial(self, candidate: str) -> Trial | None:
        """What is in Staging, unless it is ``candidate``."""
        version = self.challenger()
        if version is None or version == candidate:
            return None
        return Trial(version, (now_ms() - self.since_ms(version, "Staging")) / DAY_MS)

    def since_ms(self, version: str, stage: Stage) -> int:
        """When a version last entered a stage that it has been in."""
        return parse_rfc3339_ms(self._client.get_model_version(self._name, version).tags[since(stage)])

    def was_rolled_back(self, version: str) -> bool:
        """Whether it ever was rolled back: from then on only a person promotes it."""
        return _ROLLED_BACK in self._client.get_model_version(self._name, version).tags

    def past_champions(self) -> list[str]:
        """What a rollback may go back to, best first: versions that were in Production, the last one first, and were
        not rolled back themselves since then."""
        entered = {
            str(found.version): found.tags[since("Production")]
            for found in self._versions()
            if since("Production") in found.tags
            and found.current_stage == "Archived"
            and found.tags.get(_ROLLED_BACK, "") < found.tags[since("Production")]
        }
        return sorted(entered, key=lambda version: (entered[version], int(version)), reverse=True)

    def load(self, version: str) -> StoredModel:
        """ValueError when its files are not those that were registered, or it was trained in another currency."""
        stored = self._reader.load(version, self._reader.entry(version))
        stored.require_currency(self._currency)
        return stored

    def move(self, version: str, to: Stage, why: str, evidence: Mapping[str, float] | None = None) -> None:
        """Put a version into a stage and its alias with it; the version that was there before is archived.

        Every move is one line of the promotion log. A version that already is in the stage stays as it is. A move that
        was cut short is completed by the next one to the same stage. ValueError when it would leave no version in
        Production.
        """
        # Two that move versions at once could leave two of them in one stage.
        with self._log.locked() as write:
            if version == self.champion() and to != "Production":
                raise ValueError(f"version {version} decides: put another one into Production instead")
            in_stage = [str(found.version) for found in self._versions() if found.current_stage == to]
            if self.stage(version) != to:
                self._transition(write, version, to, why, evidence or {})
            # The alias moves in one step, so the stream never finds none; only then does the old one's stage change.
            aliases = self._reader.aliases()
            if to in ALIASES and aliases.get(ALIASES[to]) != version:
                self._client.set_registered_model_alias(self._name, ALIASES[to], version)
            for stage, alias in ALIASES.items():
                if stage != to and aliases.get(alias) == version:
                    self._client.delete_registered_model_alias(self._name, alias)
            for other in in_stage if to in ALIASES else ():
                if other != version:
                    self._transition(write, other, "Archived", f"version {version} took its place in {to}", {})

    def roll_back(self, to: str, why: str, evidence: Mapping[str, float] | None = None) -> None:
        """Put one of ``past_champions`` back into Production. The version that decides now is marked as rolled back."""
        self._client.set_model_version_tag(self._name, self.champion(), _ROLLED_BACK, format_rfc3339_ms(now_ms()))
        self.move(to, "Production", f"rollback: {why}", evidence)

    def _transition(self, write: Append, version: str, to: Stage, why: str, evidence: Mapping[str, float]) -> None:
        entry = {
            "at": format_rfc3339_ms(now_ms()),
            "who": self._who,
            "model": self._name,
            "version": version,
            "from": self.stage(version),
            "to": to,
            "why": why,
            "evidence": dict(evidence),
        }
        # The stage last: a move that is cut short is repeated, and none is missing in the log.
        self._client.set_model_version_tag(self._name, version, since(to), entry["at"])
        self._client.set_model_version_tag(self._name, version, f"{to.lower()}_reason", why)
        write(entry)
        with warnings.catch_warnings():
            # Stages are deprecated in favour of aliases; the module's docstring says why they are used.
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(self._name, version, to)

    def _versions(self, condition: str | None = None) -> "list[ModelVersion]":
        own = f"name = '{self._name}'"
        return list(self._client.search_model_versions(f"{own} and {condition}" if condition else own))


def since(stage: Stage) -> str:
    """Name of the tag that says when a version entered a stage."""
    return f"{stage.lower()}_since"


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
