import json
import logging

import pytest

from fraud_assets.registry import Registry, servable_champion
from fraud_assets_tests.assets.conftest import register
from fraud_core.model.stored import StoredModel
from fraud_io.folders import Lake

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def settings(tmp_path_factory, settings_in):
    return settings_in(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def registry(settings, request):
    """A registry of its own model for each test."""
    return Registry(settings.model_copy(update={"model_name": request.node.name}), "a test")


def test_there_is_no_champion_before_the_first_promotion(registry, settings, model):
    assert registry.champion() is None
    version = register(registry, settings, model)
    registry.move(version, "Staging", "good")
    assert (registry.stage(version), registry.champion()) == ("Staging", None)


def test_a_new_champion_archives_the_old_one_and_every_move_is_logged(registry, settings, model):
    lines_before = Lake(settings.lake).promotions.read_text() if Lake(settings.lake).promotions.exists() else ""
    first, second = (register(registry, settings, model) for _ in range(2))
    for version in (first, second):
        registry.move(version, "Staging", "good")
        registry.move(version, "Production", "better")
    assert (registry.stage(first), registry.stage(second), registry.champion()) == ("Archived", "Production", second)
    assert registry._reader.aliases() == {"champion": second}
    text = Lake(settings.lake).promotions.read_text()
    assert text.startswith(lines_before)
    moves = [json.loads(line) for line in text.removeprefix(lines_before).splitlines()]
    assert [(move["version"], move["from"], move["to"]) for move in moves] == [
        (first, "None", "Staging"),
        (first, "Staging", "Production"),
        (second, "None", "Staging"),
        (second, "Staging", "Production"),
        (first, "Production", "Archived"),
    ]


def test_a_move_to_the_stage_a_version_is_in_changes_and_logs_nothing(registry, settings, model):
    version = register(registry, settings, model)
    registry.move(version, "Staging", "good")
    before = Lake(settings.lake).promotions.read_text()
    registry.move(version, "Staging", "again")
    assert Lake(settings.lake).promotions.read_text() == before


def test_a_model_comes_back_from_the_registry_as_it_went_in(registry, settings, model):
    assert registry.load(register(registry, settings, model)) == model


def test_a_champion_made_for_other_features_counts_as_none(registry, settings, model, caplog):
    stranger = StoredModel(model.ubj, {**model.card, "feature_hash": "of another version"})
    registry.move(register(registry, settings, stranger), "Production", "long ago")
    assert servable_champion(registry, logging.getLogger()) is None
    assert "counts as none" in caplog.text


def test_a_version_whose_files_were_changed_is_not_loaded_and_counts_as_none(registry, settings, model, caplog):
    version = register(registry, settings, model)
    registry.move(version, "Production", "good")
    for file in (settings.home / "artifacts").rglob("model.ubj"):
        file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"not those that were registered \(sha256_model_ubj differs\)"):
        registry.load(version)
    assert servable_champion(registry, logging.getLogger()) is None
    assert "counts as none" in caplog.text
