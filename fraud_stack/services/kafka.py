"""The embedded Kafka broker (KRaft, one node) and the topics of any Kafka this system uses."""

import shlex
from pathlib import Path

from confluent_kafka import KafkaException

# mypy takes what its documentation imports from there for private.
from confluent_kafka.admin import NewTopic

from fraud_core.settings import Settings
from fraud_core.topics import TOPICS, Topic
from fraud_io.errors import OperatorError
from fraud_io.folders import BROKER_JARS
from fraud_io.kafka.admin import make_admin
from fraud_io.kafka.errors import NO_RIGHT, KafkaRefusals
from fraud_stack.paths import run_folder

_CLUSTER_ID = "ZnJhdWQtZGV0ZWN0aW9uLQ"
_TIMEOUT_S = 10.0
_LOG_CONFIGURATION = Path(__file__).parent / "kafka_log4j2.properties"


def write_broker_configuration(settings: Settings) -> None:
    home, host = settings.home.absolute(), settings.host
    broker, controller = f"{host}:{settings.kafka_port}", f"{host}:{settings.kafka_controller_port}"
    configuration = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "log.dirs": home / "kafka",
        "auto.create.topics.enable": "false",
        # One node: nothing to replicate to, and no other member to wait for when a group starts.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
    }
    _configuration_file(home).write_text("".join(f"{name}={value}\n" for name, value in configuration.items()))


def broker_command(home: Path) -> tuple[str, ...]:
    """Formats the data folder when it is new, then becomes the broker. Java is that of $JAVA_HOME."""
    class_path, log = (
        shlex.quote(str(BROKER_JARS / "*")),
        shlex.quote(f"-Dlog4j2.configurationFile={_LOG_CONFIGURATION}"),
    )
    java = f'"$JAVA_HOME/bin/java" -Xmx512m -XX:+UseSerialGC -cp {class_path} {log}'
    configuration, formatted = (shlex.quote(str(file)) for file in (_configuration_file(home), _formatted(home)))
    prepare = f"{java} kafka.tools.StorageTool format --cluster-id {_CLUSTER_ID} --config {configuration}"
    return ("sh", "-c", f"(test -f {formatted} || {prepare}) && exec {java} kafka.Kafka {configuration}")


def create_topics(settings: Settings) -> None:
    """Create the topics that are missing. Existing ones stay as they are.

    Raises OperatorError when the brokers do not answer or refuse.
    """
    refusals = KafkaRefusals(settings)
    admin = make_admin(settings, refusals)
    names = settings.topics._asdict()
    missing = []
    try:
        existing = admin.list_topics(timeout=_TIMEOUT_S).topics
        missing = [role for role in TOPICS if names[role] not in existing]
        if missing:
            new = [_new_topic(names[role], TOPICS[role], settings) for role in missing]
            for created in admin.create_topics(new, request_timeout=_TIMEOUT_S).values():
                created.result(_TIMEOUT_S)
    except KafkaException as error:
        admin.poll(0)  # refusals learn why
        problem = error.args[0]
        if problem.name() in NO_RIGHT:
            raise OperatorError(refusals.no_right(", ".join(names[role] for role in missing))) from error
        raise OperatorError(
            refusals.at_the_door
            or f"Kafka at {settings.bootstrap_servers} takes no commands ({problem.str()}): check the address in "
            "FRAUD_KAFKA_BOOTSTRAP_SERVERS, that it runs, and the FRAUD_KAFKA_* credentials"
        ) from error


def _new_topic(name: str, topic: Topic, settings: Settings) -> NewTopic:
    configuration = {
        "retention.ms": str(topic.retention_ms),
        # When a payment arrived is the brokers' word, not its producer's: it bounds event times and measures latency.
        "message.timestamp.type": "LogAppendTime",
    }
    # As many replicas as the brokers make by default: they know how many they are.
    return NewTopic(name, settings.partitions, replication_factor=-1, config=configuration)


def _configuration_file(home: Path) -> Path:
    return run_folder(home) / "kafka.properties"


def _formatted(home: Path) -> Path:
    return home / "kafka" / "meta.properties"
