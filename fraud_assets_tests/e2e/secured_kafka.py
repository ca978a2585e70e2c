"""A broker that speaks SASL_SSL (SCRAM-SHA-512, an authority of its own) and, at a second port, SSL with clients that
show a certificate. It allows what its rights list says."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.folders import BROKER_JARS
from fraud_stack.services.java import java_home
from fraud_stack.services.kafka import broker_command, create_topics, write_broker_configuration

# What docs/operations.md says a user needs, on what has a name that begins so.
_ON_TOPICS = (
    *(AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS),
    *(AclOperation.READ, AclOperation.WRITE),
)
RIGHTS = (
    (ResourceType.TOPIC, "transactions", _ON_TOPICS),
    (ResourceType.TOPIC, "fraud_", _ON_TOPICS),
    (ResourceType.GROUP, "fraud-", (AclOperation.DESCRIBE,)),
)
USERS = ("admin", "fraud", "stranger")
BY_CERTIFICATE = "CN=bank"  # a client that has no password


@contextmanager
def secured_kafka(home: Path, ports: dict[str, int]) -> Iterator[dict[str, Settings]]:
    """Settings of a client for each of USERS and BY_CERTIFICATE, while the broker runs. The users ``fraud`` and
    BY_CERTIFICATE have RIGHTS, and make their topics with them; ``stranger`` has none. ports : kafka_port,
    kafka_controller_port and kafka_tls_port."""
    _make_certificates(home)
    (home / "run").mkdir()
    tls_port = ports["kafka_tls_port"]
    ports = {name: port for name, port in ports.items() if name != "kafka_tls_port"}
    write_broker_configuration(Settings(home=home, **ports))
    with (home / "run" / "kafka.properties").open("a") as file:
        file.write("".join(f"{name}={value}\n" for name, value in _demands(home, tls_port, **ports).items()))
    _format_with_users(home)
    environment = os.environ | {"JAVA_HOME": str(java_home())}
    clients = {user: _client(home, user, ports) for user in USERS}
    clients[BY_CERTIFICATE] = _client_by_certificate(home, tls_port)
    admin = AdminClient(clients["admin"].confluent_kafka())
    with (home / "kafka.log").open("wb") as log:
        broker = subprocess.Popen(broker_command(home), env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _answers(admin):
            assert time.monotonic() < deadline, (home / "kafka.log").read_text()[-3000:]
            time.sleep(0.2)
        for user in ("fraud", BY_CERTIFICATE):
            _grant(admin, user)
            while not _may_create(clients[user]):  # brokers learn of a right a little later
                assert time.monotonic() < deadline, f"{user} gets no rights"
                time.sleep(0.1)
        yield clients
    finally:
        broker.kill()
        broker.wait()


def _demands(home: Path, tls_port: int, kafka_port: int, kafka_controller_port: int) -> dict[str, object]:
    listener = f"SASL_SSL://127.0.0.1:{kafka_port},MTLS://127.0.0.1:{tls_port}"
    return {
        "listeners": f"{listener},CONTROLLER://127.0.0.1:{kafka_controller_port}",
        "advertised.listeners": listener,
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,MTLS:SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="admin" password="{_password("admin")}";'
        ),
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": home / "broker.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": home / "ca.pem",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # ANONYMOUS is the broker itself at its controller, which listens on this machine only.
        "super.users": "User:admin;User:ANONYMOUS",
    }


def _client(home: Path, user: str, ports: dict[str, int]) -> Settings:
    return Settings(
        home=home,
        kafka_bootstrap_servers=f"127.0.0.1:{ports['kafka_port']}",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username=user,
        kafka_password=_password(user),
        kafka_ca_file=home / "ca.pem",
        partitions=2,
    )


def _client_by_certificate(home: Path, port: int) -> Settings:
    file = home / "client.properties"
    file.write_text(
        "# All that a client of this bank needs, for both client libraries.\n"
        "security.protocol=SSL\n"
        "client.id=fraud-detection\n"
        f"librdkafka.ssl.ca.location={home}/ca.pem\n"
        f"librdkafka.ssl.certificate.location={home}/bank.pem\n"
        f"librdkafka.ssl.key.location={home}/bank.pem\n"
        f"java.ssl.truststore.type=PEM\njava.ssl.truststore.location={home}/ca.pem\n"
        f"java.ssl.keystore.type=PEM\njava.ssl.keystore.location={home}/bank.pem\n"
    )
    return Settings(
        home=home,
        kafka_bootstrap_servers=f"127.0.0.1:{port}",
        kafka_client_file=file,
        topic_prefix="fraud_by_certificate.",
        partitions=2,
    )


def _password(user: str) -> str:
    return f"the-password-of-{user}"


def _format_with_users(home: Path) -> None:
    java = [java_home() / "bin" / "java", "-cp", BROKER_JARS / "*", "kafka.tools.StorageTool"]
    users = [
        word for user in USERS for word in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={_password(user)}]")
    ]
    cluster = ["--cluster-id", "c2VjdXJlZC1jbHVzdGVyLQ", "--config", home / "run" / "kafka.properties"]
    subprocess.run([*java, "format", *cluster, *users], check=True, capture_output=True)


def _grant(admin: AdminClient, user: str) -> None:
    rights = [
        AclBinding(
            *(kind, prefix, ResourcePatternType.PREFIXED),
            *(f"User:{user}", "*", operation, AclPermissionType.ALLOW),
        )
        for kind, prefix, operations in RIGHTS
        for operation in operations
    ]
    for granted in admin.create_acls(rights).values():
        granted.result(30)


def _may_create(client: Settings) -> bool:
    try:
        create_topics(client)
    except OperatorError:
        return False
    return True


def _answers(admin: AdminClient) -> bool:
    try:
        admin.list_topics(timeout=2)
    except KafkaException:
        return False
    return True


def _make_certificates(home: Path) -> None:
    """ca.pem: an authority that signs itself. broker.pem: the broker's key and its certificate for 127.0.0.1. bank.pem:
    those of the client BY_CERTIFICATE."""
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the test")])
    now = datetime.now(UTC)

    def signed(subject: x509.Name, of: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(ca, subject, of.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    of_ca = signed(ca, authority, x509.BasicConstraints(ca=True, path_length=None))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    (home / "ca.pem").write_bytes(of_ca)
    for name in ("broker", "bank"):
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        (home / f"{name}.pem").write_bytes(private + signed(subject, key, address) + of_ca)
