"""Placeholders become random secrets, and are refused outside development."""

import stat

import pytest

from fraud_io.errors import OperatorError
from fraud_stack import secrets

EXAMPLE = "# a comment\nFRAUD_ENVIRONMENT=dev\nA_PASSWORD=change-me-a\nRATE=5\nB_KEY=change-me-b\n"
OURS = secrets.names(secrets.EXAMPLE.read_text())
PLACEHOLDERS = {name: f"change-me-{name}" for name in OURS}


def test_each_placeholder_becomes_a_secret_of_its_own_and_the_rest_stays():
    lines = secrets.filled(EXAMPLE).splitlines()
    values = dict(line.split("=") for line in lines[1:])
    assert lines[0] == "# a comment"
    assert values["FRAUD_ENVIRONMENT"] == "production"
    assert values["RATE"] == "5"
    assert len({values["A_PASSWORD"], values["B_KEY"]}) == 2
    assert all(len(bytes.fromhex(values[name])) == 24 for name in ("A_PASSWORD", "B_KEY"))


def test_two_deployments_get_different_secrets():
    assert secrets.filled(EXAMPLE) != secrets.filled(EXAMPLE)


def test_only_the_owner_can_read_what_is_written_and_it_is_never_written_over(tmp_path):
    file = tmp_path / ".env"
    secrets.write(file)
    written = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(OperatorError, match="remove it first"):
        secrets.write(file)
    assert file.read_text() == written


def test_what_is_written_passes_the_check(tmp_path):
    secrets.write(tmp_path / ".env")
    lines = (tmp_path / ".env").read_text().splitlines()
    secrets.check(dict(line.split("=", 1) for line in lines if line and not line.startswith("#")))


@pytest.mark.parametrize("environment", [{}, {"FRAUD_ENVIRONMENT": "production"}, {"FRAUD_ENVIRONMENT": "DEV"}])
def test_placeholders_are_refused_by_name_unless_it_says_development(environment):
    with pytest.raises(OperatorError, match=f"^{', '.join(OURS)} still hold the placeholders"):
        secrets.check(PLACEHOLDERS | environment)


def test_one_placeholder_that_is_left_is_refused():
    real = dict.fromkeys(OURS, "0123456789abcdef")
    with pytest.raises(OperatorError, match=r"^VALKEY_PASSWORD still hold"):
        secrets.check(real | {"VALKEY_PASSWORD": "change-me-valkey"})


def test_placeholders_will_do_for_development():
    secrets.check(PLACEHOLDERS | {"FRAUD_ENVIRONMENT": "dev"})


def test_a_secret_that_is_missing_is_refused_even_in_development():
    with pytest.raises(OperatorError, match=r"^VALKEY_PASSWORD not set"):
        secrets.check(PLACEHOLDERS | {"VALKEY_PASSWORD": "", "FRAUD_ENVIRONMENT": "dev"})
