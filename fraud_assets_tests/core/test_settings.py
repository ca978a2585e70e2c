"""Settings: what follows from others follows them."""

from fraud_core.settings import Settings


def test_a_copy_with_another_home_has_folders_of_its_own(tmp_path):
    first = Settings(home=tmp_path / "first")
    named = [first.lake, first.checkpoint, first.model_cache]
    second = first.model_copy(update={"home": tmp_path / "second"})
    assert [path.name for path in named] == [path.name for path in (second.lake, second.checkpoint, second.model_cache)]
    assert {path.parent for path in (second.lake, second.checkpoint, second.model_cache)} == {tmp_path / "second"}
