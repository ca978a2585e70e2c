"""Settings: what follows from others, what each Kafka client is given, and that no secret is ever shown."""

import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraud_core.settings import Settings, describe, without_password
from fraud_core.topics import TOPICS

ROOT = Path(__file__).parents[2]
JAVA_LOGIN = "org.apache.kafka.common.security"
SECRET = "geheim"


def test_a_copy_with_another_home_has_folders_of_its_own(tmp_path):
    first = Settings(home=tmp_path / "first")
    named = [first.lake, first.checkpoint, first.model_cache]
    second = first.model_copy(update={"home": tmp_path / "second"})
    assert [path.name for path in named] == [path.name for path in (second.lake, second.checkpoint, second.model_cache)]
    assert {path.parent for path in (second.lake, second.checkpoint, second.model_cache)} == {tmp_path / "second"}


TOPICS_BY_DEFAULT = ("transactions", "transactions_dead_letter", "fraud_predictions", "fraud_feedback")


def test_topics_have_their_usual_names_a_prefix_or_names_of_their_own():
    assert Settings().topics == TOPICS_BY_DEFAULT
    assert Settings(topic_prefix="bank.eu-").topics == tuple(f"bank.eu-{name}" for name in TOPICS_BY_DEFAULT)
    topics = Settings(topic_prefix="fraud.", topic_transactions="cards_authorised", topic_feedback="").topics
    assert (topics.transactions, topics.predictions, topics.feedback) == (
        *("cards_authorised", "fraud.fraud_predictions", "fraud.fraud_feedback"),
    )


@given(st.sampled_from(list(TOPICS)), st.text(max_size=260))
def test_a_name_is_taken_exactly_when_kafka_takes_it(role, name):
    legal = re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name) and name not in (".", "..")
    try:
        settings = Settings(**{f"topic_{role}": name})
    except ValidationError as error:
        assert f"set FRAUD_TOPIC_{role.upper()} or FRAUD_TOPIC_PREFIX" in describe(error)
        assert name and not legal
    else:
        assert getattr(settings.topics, role) == (name or TOPICS[role].default_name)


@pytest.mark.parametrize(
    ("set_names", "at_fault"),
    [
        ({"topic_transactions": "fraud_feedback"}, "'fraud_feedback' is that of two roles"),
        ({"topic_dead_letter": "a.b", "topic_feedback": "a_b"}, "'a.b' is that of two roles"),  # brokers refuse both
        ({"topic_prefix": "x" * 240}, "Kafka takes 1 to 249"),
        ({"topic_prefix": "pay/"}, "Kafka takes"),
    ],
)
def test_two_roles_do_not_share_a_topic_and_a_prefix_must_leave_names_that_kafka_takes(set_names, at_fault):
    with pytest.raises(ValidationError) as raised:
        Settings(**set_names)
    assert at_fault in describe(raised.value)


def clients(**kafka: object) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What librdkafka, kafka-python and Spark's Java client are given, beside the address."""
    settings = Settings(kafka_bootstrap_servers="a:1,b:2", **kafka)
    found = settings.confluent_kafka(), settings.kafka_python(), settings.spark_kafka()
    names = "bootstrap.servers", "bootstrap_servers", "kafka.bootstrap.servers"
    assert [options.pop(name) for name, options in zip(names, found, strict=True)] == ["a:1,b:2"] * 3
    assert found[2].pop("kafka.isolation.level") == "read_committed"
    return found


def test_without_security_the_clients_get_the_address_only():
    confluent, python, spark = clients()
    assert confluent == {"security.protocol": "PLAINTEXT"}
    assert python == {"security_protocol": "PLAINTEXT"}
    assert spark == {"kafka.security.protocol": "PLAINTEXT"}


def test_over_tls_the_clients_trust_the_given_authority_or_that_of_the_machine():
    confluent, python, spark = clients(kafka_security_protocol="SSL", kafka_ca_file="/ca.pem")
    assert confluent == {"security.protocol": "SSL", "ssl.ca.location": "/ca.pem"}
    assert python == {"security_protocol": "SSL", "ssl_cafile": "/ca.pem"}
    assert spark == {
        "kafka.security.protocol": "SSL",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": "/ca.pem",
    }
    assert [list(options.values()) for options in clients(kafka_security_protocol="SSL")] == [["SSL"]] * 3


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize(
    ("mechanism", "module"),
    [
        ("PLAIN", "plain.PlainLoginModule"),
        ("SCRAM-SHA-256", "scram.ScramLoginModule"),
        ("SCRAM-SHA-512", "scram.ScramLoginModule"),
    ],
)
def test_with_a_login_the_clients_get_mechanism_user_and_password(protocol, mechanism, module):
    login = {"kafka_sasl_mechanism": mechanism, "kafka_username": "fraud", "kafka_password": "right"}
    confluent, python, spark = clients(kafka_security_protocol=protocol, **login)
    assert confluent == {
        "security.protocol": protocol,
        "sasl.mechanism": mechanism,
        "sasl.username": "fraud",
        "sasl.password": "right",
    }
    assert python == {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "fraud",
        "sasl_plain_password": "right",
    }
    assert spark == {
        "kafka.security.protocol": protocol,
        "kafka.sasl.mechanism": mechanism,
        "kafka.sasl.jaas.config": f'{JAVA_LOGIN}.{module} required username="fraud" password="right";',
    }


def test_a_password_is_handed_on_as_it_is_and_quoted_for_java():
    password = "a\"b\\c;d'e\nf"
    confluent, python, spark = clients(kafka_sasl_mechanism="PLAIN", kafka_username='u"', kafka_password=password)
    assert (confluent["sasl.password"], python["sasl_plain_password"]) == (password, password)
    login = r"""required username="u\"" password="a\"b\\c;d'e\nf";"""
    assert spark["kafka.sasl.jaas.config"] == f"{JAVA_LOGIN}.plain.PlainLoginModule {login}"


def test_who_gives_no_name_does_not_log_in_as_none():
    *_, spark = clients(kafka_sasl_mechanism="PLAIN")
    assert spark["kafka.sasl.jaas.config"] == f"{JAVA_LOGIN}.plain.PlainLoginModule required;"


ALL_SECRETS = {
    "kafka_password": SECRET,
    "pseudonym_key": SECRET * 6,
    "store_url": f"redis://:{SECRET}@store:6379/0",
    "mlflow_url": f"https://fraud:{SECRET}@mlflow",
    "mlflow_database": f"postgresql://fraud:{SECRET}@database/mlflow",
    "dagster_url": f"https://fraud:{SECRET}@dagster",
}


def test_no_secret_is_in_the_text_of_settings():
    settings = Settings(**ALL_SECRETS)
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()['kafka_password']}"
    assert "mlflow_url='https://fraud:***@mlflow'" in repr(settings)


def test_a_child_process_gets_the_secrets_and_the_command_that_lists_settings_shows_none(tmp_path):
    environment = Settings(home=tmp_path, **ALL_SECRETS).environment()
    assert sum(SECRET in value for value in environment.values()) == len(ALL_SECRETS)
    command = [sys.executable, "-m", "fraud_stack.cli", "settings"]
    listed = subprocess.run(command, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert SECRET not in listed.stdout
    for name in ALL_SECRETS:
        assert f"FRAUD_{name.upper()} " in listed.stdout
    assert " redis://:***@store:6379/0" in listed.stdout


@pytest.mark.parametrize(
    ("name", "value"), [("pseudonym_key", SECRET), ("kafka_password", [SECRET]), ("store_url", [SECRET])]
)
def test_an_error_about_a_value_shows_no_secret(name, value):
    with pytest.raises(ValidationError) as raised:
        Settings(**{name: value})
    assert name in str(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_the_sentence_about_a_value_shows_it_unless_it_is_a_secret():
    with pytest.raises(ValidationError) as raised:
        Settings(partitions=0)
    assert describe(raised.value) == "FRAUD_PARTITIONS is set to 0: input should be greater than or equal to 1"
    with pytest.raises(ValidationError) as raised:
        Settings(pseudonym_key=SECRET)
    assert describe(raised.value).startswith("FRAUD_PSEUDONYM_KEY is set to a secret: ")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://store:6379/0", "redis://store:6379/0"),
        (f"redis://:{SECRET}@store:6379/0", "redis://:***@store:6379/0"),
        (f"redis://fraud:a@{SECRET}/:b@store", "redis://fraud:***@store"),
        (f"redis://store/0?password={SECRET}&db=1", "redis://store/0?password=***&db=1"),
    ],
)
def test_an_address_is_shown_without_its_password(address, shown):
    assert without_password(address) == shown
