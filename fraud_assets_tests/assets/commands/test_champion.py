"""Changing the version in Production: what is refused; stages, aliases and log stay in step whatever is done."""

import json
import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from mlflow import MlflowClient

from fraud_assets.commands.champion import RefusedError, main, promote, roll_back
from fraud_assets.registry import ALIASES, Registry
from fraud_assets_tests.assets.conftest import again, register
from fraud_core.labels.quarantine import Batch
from fraud_core.model.stored import StoredModel
from fraud_io.folders import Lake
from fraud_io.quarantine_log import QuarantineLog

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def home(tmp_path_factory, settings_in):
    return settings_in(tmp_path_factory.mktemp("champion"))


@pytest.fixture
def own(home, request):
    """Settings with a model name and a lake of the test's own."""
    name = request.node.name
    return home.model_copy(update={"model_name": name, "home": home.home / name})


@pytest.fixture
def registry(own):
    return Registry(own, "a test")


def log_of(configured) -> list[dict]:
    return [json.loads(line) for line in Lake(configured.lake).promotions.read_text().splitlines()]


def test_a_promotion_and_a_rollback_say_who_when_from_to_why_and_on_what_evidence(own, registry, home, model):
    first, second = (register(registry, home, model) for _ in range(2))
    assert promote(own, registry, first, "the first") is None
    assert promote(own, registry, second, "better", {"gain": 0.1}) == first
    assert roll_back(registry, "worse", {"f2": 0.2}) == (second, first)
    assert (registry.champion(), registry.stage(second)) == (first, "Archived")
    moves = [(m["version"], m["from"], m["to"], m["why"], m["evidence"]) for m in log_of(own)]
    assert moves == [
        (first, "None", "Production", "the first", {}),
        (second, "None", "Production", "better", {"gain": 0.1}),
        (first, "Production", "Archived", f"version {second} took its place in Production", {}),
        (first, "Archived", "Production", "rollback: worse", {"f2": 0.2}),
        (second, "Production", "Archived", f"version {first} took its place in Production", {}),
    ]
    assert all(move["who"] == "a test" and move["at"].endswith("Z") for move in log_of(own))


def test_what_cannot_be_promoted_is_refused_with_a_sentence_and_changes_nothing(own, registry, home, model):
    first = register(registry, home, model)
    promote(own, registry, first, "the first")
    stranger = StoredModel(model.ubj, {**model.card, "feature_hash": "of another version"})
    other_features, good = register(registry, home, stranger), register(registry, home, model)
    before = Lake(own.lake).promotions.read_text()
    for version, said in (
        ("9", f"there is no version 9 of {own.model_name}; there are: {first}, {other_features}, {good}"),
        ("latest", "there is no version latest"),
        (first, f"version {first} is in Production already"),
        (other_features, f"version {other_features} cannot be served: the model was trained on other features"),
    ):
        with pytest.raises(RefusedError, match=said):
            promote(own, registry, version, "wish")
    QuarantineLog(own.lake).hold([Batch("analyst", "2026-03-01", "a flood", 4000, {0: (0, 9)})], "a test")
    with pytest.raises(RefusedError, match=r"labels are in quarantine.*analyst/2026-03-01 \(a flood\)"):
        promote(own, registry, good, "wish")
    with pytest.raises(RefusedError, match="no previous version to go back to"):
        roll_back(registry, "wish")
    assert registry.champion() == first
    assert Lake(own.lake).promotions.read_text() == before


def test_a_rollback_passes_over_a_version_that_the_stream_would_refuse(own, registry, home, model):
    stranger = StoredModel(model.ubj, {**model.card, "feature_hash": "of another version"})
    first, unservable, third = (register(registry, home, each) for each in (model, stranger, model))
    for version in (first, unservable, third):
        registry.move(version, "Production", "in turn")
    assert roll_back(registry, "worse") == (third, first)
    with pytest.raises(RefusedError, match=f"version {unservable} cannot be served"):
        roll_back(registry, "worse still")


def test_nothing_to_roll_back_and_a_champion_that_would_leave_production_empty_are_refused(own, registry, home, model):
    with pytest.raises(RefusedError, match="nothing to roll back"):
        roll_back(registry, "wish")
    version = register(registry, home, model)
    registry.move(version, "Production", "the first")
    for stage in ("Staging", "Archived"):
        with pytest.raises(ValueError, match="put another one into Production instead"):
            registry.move(version, stage, "away")


def test_the_command_says_in_one_sentence_that_mlflow_is_down(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FRAUD_HOME", str(tmp_path))
    monkeypatch.setenv("FRAUD_MLFLOW_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(sys, "argv", ["./run", "rollback", "--reason", "test"])
    assert main() == 1
    assert capsys.readouterr().err.splitlines() == [
        "fraud: MLflow at http://127.0.0.1:1 does not answer: start it with ./run up, or set FRAUD_MLFLOW_URL"
    ]


class CutShortError(Exception):
    """The process dies here."""


def test_a_move_that_was_cut_short_at_any_call_is_completed_by_the_next_one(own, home, model, monkeypatch):
    writes = ("transition_model_version_stage", "set_registered_model_alias", "delete_registered_model_alias")
    for dies_at in range(8):
        name = f"{own.model_name}-{dies_at}"
        at = own.model_copy(update={"model_name": name, "home": own.home / name})
        registry = Registry(at, "a test")
        first = register(registry, home, model)
        second = again(registry, first, model)
        registry.move(first, "Production", "the first")
        registry.move(second, "Staging", "a challenger")
        calls = iter(range(dies_at))
        with monkeypatch.context() as patch:
            for write in (*writes, "set_model_version_tag"):
                patch.setattr(MlflowClient, write, _dying(getattr(MlflowClient, write), calls))
            with pytest.raises(CutShortError):
                registry.move(second, "Production", "better")
        assert registry.champion() in (first, second)
        registry.move(second, "Production", "better")
        assert stages(registry) == {first: "Archived", second: "Production"}
        assert registry._reader.aliases() == {"champion": second}
        assert {entry["version"]: entry["to"] for entry in log_of(at)} == stages(registry)


def _dying(method, calls):
    def call(*arguments, **named):
        if next(calls, None) is None:
            raise CutShortError
        return method(*arguments, **named)

    return call


def stages(registry: Registry) -> dict[str, str]:
    """Stage by version, in one query: the random moves ask for it after each of them."""
    found = registry._client.search_model_versions(f"name = '{registry._name}'")
    return {str(version.version): version.current_stage for version in sorted(found, key=lambda v: int(v.version))}


def test_stages_and_aliases_stay_in_step_whatever_is_done(home, model, tmp_path):
    class AnyMoves(RuleBasedStateMachine):
        """Random moves, promotions and rollbacks of a few versions, against a list of who decided, newest last."""

        count = 0

        @initialize()
        def begin(self):
            AnyMoves.count += 1
            own = {"model_name": f"any-moves-{AnyMoves.count}", "home": tmp_path / str(AnyMoves.count)}
            self.settings = home.model_copy(update=own)
            self.registry = Registry(self.settings, "a test")
            self.versions = [register(self.registry, home, model)]
            self.versions += [again(self.registry, self.versions[0], model) for _ in range(3)]
            self.champions: list[str] = []

        @rule(at=st.integers(0, 3), to=st.sampled_from(["Staging", "Archived"]))
        def move(self, at, to):
            version = self.versions[at]
            if self.champions[-1:] == [version]:
                with pytest.raises(ValueError, match="decides"):
                    self.registry.move(version, to, "any")
                return
            self.registry.move(version, to, "any")

        @rule(at=st.integers(0, 3))
        def promote(self, at):
            version = self.versions[at]
            if self.champions[-1:] == [version]:
                with pytest.raises(RefusedError):
                    promote(self.settings, self.registry, version, "any")
                return
            promote(self.settings, self.registry, version, "any")
            self.champions = [other for other in self.champions if other != version] + [version]

        @rule()
        def roll_back(self):
            archived = [v for v in self.champions[:-1] if self.registry.stage(v) == "Archived"]
            if not archived:
                with pytest.raises(RefusedError):
                    roll_back(self.registry, "any")
                return
            assert roll_back(self.registry, "any") == (self.champions[-1], archived[-1])
            self.champions = [v for v in self.champions[:-1] if v != archived[-1]] + [archived[-1]]

        @invariant()
        def one_version_a_stage_and_its_alias(self):
            found = stages(self.registry)
            for stage, alias in ALIASES.items():
                inside = [version for version, its in found.items() if its == stage]
                assert len(inside) <= 1
                assert self.registry._reader.aliases().get(alias) == (inside[0] if inside else None)
            assert self.registry.champion() == (self.champions[-1] if self.champions else None)

        @invariant()
        def the_log_leads_to_where_every_version_is(self):
            if Lake(self.settings.lake).promotions.exists():
                place = dict.fromkeys(self.versions, "None")
                for entry in log_of(self.settings):
                    assert place[entry["version"]] == entry["from"]
                    place[entry["version"]] = entry["to"]
                assert place == stages(self.registry)

    run_state_machine_as_test(
        AnyMoves,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
