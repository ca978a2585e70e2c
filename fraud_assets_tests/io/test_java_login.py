"""The login that Spark's Kafka client is given, taken apart by that client itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyspark
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from py4j.java_gateway import JavaGateway

from fraud_core.settings import Settings
from fraud_io.folders import SPARK_JARS
from fraud_stack.services.java import java_home

pytestmark = pytest.mark.streaming

Login = Callable[[str, str], tuple[str, str]]


@pytest.fixture(scope="module")
def login() -> Iterator[Login]:
    """Gives, of a user and password in Settings, what the Java client would log in with."""
    of_spark = Path(pyspark.__file__).parent / "jars"
    jars = [*SPARK_JARS.glob("kafka-clients-*.jar"), *of_spark.glob("slf4j-api-*.jar")]
    (py4j,) = of_spark.glob("py4j*.jar")
    java = str(java_home() / "bin" / "java")
    gateway = JavaGateway.launch_gateway(
        jarpath=str(py4j), classpath=":".join(map(str, jars)), java_path=java, die_on_exit=True
    )
    security = gateway.jvm.org.apache.kafka.common

    def read(user: str, password: str) -> tuple[str, str]:
        settings = Settings(kafka_sasl_mechanism="SCRAM-SHA-512", kafka_username=user, kafka_password=password)
        text = security.config.types.Password(settings.spark_kafka()["kafka.sasl.jaas.config"])
        configuration = gateway.jvm.java.util.HashMap()
        configuration.put("sasl.jaas.config", text)
        context = security.security.JaasContext.loadClientContext(configuration)
        (entry,) = context.configurationEntries()
        options = entry.getOptions()
        return options["username"], options["password"]

    yield read
    gateway.shutdown()


@given(st.text(), st.text(min_size=1))
@example("fraud", "a\"b\\c;d'e\nf\r")
@example('"', '\\";')
@example("", "\\")
def test_java_reads_every_user_and_password_as_they_were_given(login, user, password):
    assert login(user, password) == (user, password)
