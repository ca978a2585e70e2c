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


def clients(**kafka: object) -> tuple[dict[str, str], dict[str, str]]:
    """What librdkafka and Spark's Java client are given, beside the address."""
    settings = Settings(kafka_bootstrap_servers="a:1,b:2", **kafka)
    found = settings.confluent_kafka(), settings.spark_kafka()
    names = "bootstrap.servers", "kafka.bootstrap.servers"
    assert [options.pop(name) for name, options in zip(names, found, strict=True)] == ["a:1,b:2"] * 2
    assert found[1].pop("kafka.isolation.level") == "read_committed"
    return found


def test_without_security_the_clients_get_the_address_only():
    confluent, spark = clients()
    assert confluent == {"security.protocol": "PLAINTEXT"}
    assert spark == {"kafka.security.protocol": "PLAINTEXT"}


def test_over_tls_the_clients_trust_the_given_authority_or_that_of_the_machine():
    confluent, spark = clients(kafka_security_protocol="SSL", kafka_ca_file="/ca.pem")
    assert confluent == {"security.protocol": "SSL", "ssl.ca.location": "/ca.pem"}
    assert spark == {
        "kafka.security.protocol": "SSL",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": "/ca.pem",
    }
    assert [list(options.values()) for options in clients(kafka_security_protocol="SSL")] == [["SSL"]] * 2


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
    confluent, spark = clients(kafka_security_protocol=protocol, **login)
    assert confluent == {
        "security.protocol": protocol,
        "sasl.mechanism": mechanism,
        "sasl.username": "fraud",
        "sasl.password": "right",
    }
    assert spark == {
        "kafka.security.protocol": protocol,
        "kafka.sasl.mechanism": mechanism,
        "kafka.sasl.jaas.config": f'{JAVA_LOGIN}.{module} required username="fraud" password="right";',
    }


def test_a_password_is_handed_on_as_it_is_and_quoted_for_java():
    password = "a\"b\\c;d'e\nf"
    confluent, spark = clients(kafka_sasl_mechanism="PLAIN", kafka_username='u"', kafka_password=password)
    assert confluent["sasl.password"] == password
    login = r"""required username="u\"" password="a\"b\\c;d'e\nf";"""
    assert spark["kafka.sasl.jaas.config"] == f"{JAVA_LOGIN}.plain.PlainLoginModule {login}"


def test_who_gives_no_name_does_not_log_in_as_none():
    *_, spark = clients(kafka_sasl_mechanism="PLAIN")
    assert spark["kafka.sasl.jaas.config"] == f"{JAVA_LOGIN}.plain.PlainLoginModule required;"


def test_the_client_file_goes_to_both_clients_or_to_the_one_that_a_name_begins_with(tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text(
        "\ufeff# a comment\n! another\n\nsecurity.protocol = SSL\nclient.id=a=b # c\n"
        "librdkafka.ssl.key.location=/key.pem\njava.ssl.keystore.type=PEM\n"
        'java.sasl.jaas.config=module required \\\n    password="x=y\\z";\n'
    )
    confluent, spark = clients(kafka_client_file=file)
    assert confluent == {"security.protocol": "SSL", "client.id": "a=b # c", "ssl.key.location": "/key.pem"}
    assert spark == {
        "kafka.security.protocol": "SSL",
        "kafka.client.id": "a=b # c",
        "kafka.ssl.keystore.type": "PEM",
        "kafka.sasl.jaas.config": 'module required password="x=y\\z";',
    }
    assert Settings(kafka_client_file=file).client_options.both == {"security.protocol", "client.id"}


OWNED = [
    *("bootstrap.servers", "metadata.broker.list", "group.id", "isolation.level", "enable.auto.commit", "acks"),
    *("auto.offset.reset", "auto.commit.interval.ms", "key.deserializer", "value.serializer", "transactional.id"),
    *("enable.idempotence", "request.required.acks", "partitioner", "partitioner.class", "interceptor.classes"),
]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (f"client.id=x\n{SECRET}", "line 2 is not name=value"),
        (f"={SECRET}", "line 1 is not name=value"),
        (f"ssl key {SECRET}={SECRET}", "line 1 is not name=value"),
        (f"client.id=x\nclient.id={SECRET}", "line 2 sets client.id once more"),
        (f"client.id=x\n\njava.client.id={SECRET}", "line 3 sets client.id once more"),
        (f"sasl.mechanism={SECRET}", "sasl.mechanism is set by a FRAUD_KAFKA_... variable too"),
        (f"java.sasl.jaas.config={SECRET}", "sasl.jaas.config is set by a FRAUD_KAFKA_... variable too"),
        *((f"{client}{name}={SECRET}", f"line 1 sets {name}, which") for name in OWNED for client in ("", "java.")),
    ],
)
def test_a_client_file_that_cannot_be_used_is_refused_without_its_values(tmp_path, lines, problem):
    file = tmp_path / "kafka.properties"
    file.write_text(lines)
    with pytest.raises(ValidationError) as raised:
        Settings(kafka_client_file=file, kafka_sasl_mechanism="PLAIN")
    assert f"FRAUD_KAFKA_CLIENT_FILE {file}: {problem}" in describe(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_client_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(ValidationError) as raised:
        Settings(kafka_client_file=tmp_path / "none")
    assert (
        describe(raised.value) == f"FRAUD_KAFKA_CLIENT_FILE {tmp_path}/none cannot be read: No such file or directory"
    )
    (tmp_path / "image").write_bytes(b"\xff\xd8")
    with pytest.raises(ValidationError) as raised:
        Settings(kafka_client_file=tmp_path / "image")
    assert describe(raised.value) == f"FRAUD_KAFKA_CLIENT_FILE {tmp_path}/image: it is not UTF-8 text"


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
