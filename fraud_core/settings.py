"""Every setting of the system, read once from ``FRAUD_*`` environment variables. No other module reads the environment.

A setting belongs here when somebody deploying the system may want to change it. Model hyper-parameters and feature
windows do not: they are part of the model and live beside the code that uses them.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraud_core.client_file import ClientOptions, parse
from fraud_core.payments.codes import currency_code
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.mapping_file import mapping_text
from fraud_core.payments.pseudonyms import Pseudonyms
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.times import known_zone
from fraud_core.timestamps import SECOND_MS, parse_rfc3339_ms
from fraud_core.topics import TOPICS, TopicNames

EARLIEST, LATEST = "earliest", "latest"
"""Of ``start_from``, beside times."""


class Settings(BaseSettings):
    """Where things are and how they are tuned. Each field ``x`` is set by the environment variable ``FRAUD_X``."""

    # An error with a traceback does not show what was set: it may be a secret.
    model_config = SettingsConfigDict(env_prefix="FRAUD_", frozen=True, hide_input_in_errors=True)

    home: Path = Field(Path("var"), description="folder of all state: broker log, lake, checkpoints, service databases")
    host: str = Field("127.0.0.1", description="address the embedded services listen on")

    # Addresses of your own services. One that is set is used as it is, and the embedded one is not started.
    kafka_bootstrap_servers: str | None = Field(None, description="host:port[,host:port] of your Kafka")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = Field(None, description="PEM file of the authority that signed the brokers")
    kafka_client_file: Path | None = Field(
        None, description="settings of Kafka's clients beside these (mTLS, OAUTHBEARER, ...): name=value lines"
    )
    topic_prefix: str = Field("", description="what the names of topics begin with that no FRAUD_TOPIC_... sets")
    topic_transactions: str | None = Field(None, description="topic of the payments (default: transactions)")
    topic_predictions: str | None = Field(None, description="topic of the decisions (default: fraud_predictions)")
    topic_dead_letter: str | None = Field(
        None, description="topic of what cannot be read (default: transactions_dead_letter)"
    )
    topic_feedback: str | None = Field(None, description="topic of the labels (default: fraud_feedback)")

    pseudonym_key: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="producers send pseudonyms made with this key instead of ids and addresses of people"
    )
    schema_registry_url: str | None = Field(
        None, pattern=r"^https?://", description="your schema registry: messages in its wire format are read with it"
    )
    schema_registry_username: str | None = None
    schema_registry_password: SecretStr | None = None
    schema_registry_token: SecretStr | None = Field(None, description="bearer token, instead of a name and password")
    schema_registry_ca_file: Path | None = Field(None, description="PEM file of the authority that signed the registry")
    prediction_format: Literal["json", "avro"] = Field(
        "json", description="how predictions are written; avro: in the wire format of your schema registry"
    )
    store_url: str | None = Field(None, description="redis:// URL of your Valkey or Redis")
    mlflow_url: str | None = Field(None, description="address of your MLflow tracking server")

    # Where the MLflow server that this system starts keeps what it is given.
    mlflow_database: SecretStr | None = Field(
        None, description="SQLAlchemy address of MLflow's database (default: SQLite in FRAUD_HOME)"
    )
    mlflow_artifacts: str | None = Field(
        None, description="folder or s3://bucket of MLflow's artifacts (default: in FRAUD_HOME)"
    )

    dagster_url: str | None = Field(None, description="address of Dagster's web server where it is not on this host")

    # Ports of the embedded services.
    kafka_port: int = 9092
    kafka_controller_port: int = 9093
    store_port: int = 6379
    mlflow_port: int = 5000
    dagster_port: int = 3000
    spark_ui_port: int = 4040
    metrics_port: int = Field(9108, description="Prometheus endpoint of the streaming job")
    exporter_port: int = Field(9109, description="Prometheus endpoint of Dagster's runs and figures, topics, MLflow")

    # The stream.
    partitions: int = Field(4, ge=1, description="partitions of a topic the system creates")
    stream_partitions: str | None = Field(
        None, pattern=r"^\d+(,\d+)*$", description="partitions this streaming job scores, such as 0,1 (default: all)"
    )
    start_from: str = Field(
        LATEST,
        description="where a new stream begins to decide, what came before is read into histories: latest, earliest "
        "(decide all of the topic) or a record time such as 2026-01-31T00:00:00Z",
    )
    max_offsets_per_trigger: int = Field(40_000, ge=1, description="most transactions in one micro-batch")
    stream_lanes: int = Field(2, ge=1, description="processes that share a large micro-batch, at most one a partition")
    future_tolerance_s: int = Field(300, ge=0, description="how far event time may lie ahead of arrival, in seconds")
    time_zone: str | None = Field(
        None, description="zone of timestamps that state none, such as Europe/Berlin (default: they are refused)"
    )
    refusal_limit: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of refused records above which a partition is held (default: off)",
    )
    mapping: str | None = Field(
        None, description="file, or name of a preset, that says what a payment's fields are read from (docs/mapping.md)"
    )
    currency: str = Field("EUR", description="ISO 4217 code of the currency that features and amounts of fraud are in")
    model_poll_s: float = Field(2.0, gt=0, description="seconds between two looks at the registry for a new model")
    ab_share: float = Field(0.0, ge=0, le=1, description="share of cards that the challenger decides about")
    review_share: float = Field(0.005, ge=0, le=1, description="share of unflagged transactions marked for review")
    anomaly_share: float = Field(0.002, ge=0, le=1, description="share of transactions strange enough for review")

    # Spark. The streaming job is the driver of its application wherever the executors run.
    spark_master: str = Field("local[*]", description="where the streaming job's tasks run, such as spark://host:7077")
    spark_driver_host: str = Field("127.0.0.1", description="name under which executors reach the streaming job")
    spark_memory: str = Field("1g", description="heap of a Java machine that the streaming job or a Dagster run starts")

    failpoints: Path | None = Field(None, description="for chaos tests: folder whose files kill the job at their point")
    setup_seconds: float = Field(0.0, ge=0, description="set by ./run: how long it installed before this command")

    # Training.
    label_delay_days: int = Field(7, ge=0, description="silence counts as genuine after this many days")
    validation_days: int = Field(7, ge=1)
    test_days: int = Field(14, ge=1)
    training_window_days: int = Field(180, ge=1, description="oldest event time used, in days before the as-of date")
    search_candidates: int = Field(12, ge=1, description="settings tried by the hyper-parameter search")
    search_folds: int = Field(3, ge=2)
    retrain_labels: int = Field(1000, ge=1, description="new labels that are a reason to train before 03:00")
    seed: int = 7
    model_name: str = "fraud-detector"
    experiment_name: str = "fraud-detection"
    partitions_start: str = Field("2026-01-01", description="first daily partition, YYYY-MM-DD")
    auto_promote: bool = Field(True, description="let the hourly comparison promote; off: ./run promote alone does")
    scheduler: Literal["dagster", "airflow"] = Field("dagster", description="who owns the 03:00 UTC run")

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka_bootstrap_servers or f"{self.host}:{self.kafka_port}"

    @property
    def topics(self) -> TopicNames:
        """What this system's topics are called: the one place. A name that is set is taken as it is."""
        set_names = {role: getattr(self, f"topic_{role}") for role in TOPICS}
        names = {role: set_names[role] or self.topic_prefix + topic.default_name for role, topic in TOPICS.items()}
        return TopicNames(**names)

    @model_validator(mode="after")
    def _topics_can_be(self) -> Self:
        for role, fault in self.topics.faults().items():
            raise ValueError(f"{fault}: set FRAUD_TOPIC_{role.upper()} or FRAUD_TOPIC_PREFIX to something else")
        return self

    @property
    def store_address(self) -> str:
        return self.store_url or f"redis://{self.host}:{self.store_port}/0"

    @property
    def mlflow_address(self) -> str:
        return self.mlflow_url or f"http://{self.host}:{self.mlflow_port}"

    @property
    def dagster_address(self) -> str:
        return self.dagster_url or f"http://{self.host}:{self.dagster_port}"

    @property
    def scored_partitions(self) -> frozenset[int] | None:
        """What this streaming job scores of the topic; None: all of it."""
        return frozenset(map(int, self.stream_partitions.split(","))) if self.stream_partitions else None

    @field_validator("time_zone")
    @classmethod
    def _is_known_zone(cls, name: str | None) -> str | None:
        return name and known_zone(name)

    @field_validator("mapping")
    @classmethod
    def _is_usable_mapping(cls, name: str | None) -> str | None:
        if name:
            RecordMapping.of(mapping_text(name))
        return name or None

    @field_validator("start_from")
    @classmethod
    def _is_a_start(cls, rule: str) -> str:
        if rule not in (EARLIEST, LATEST):
            try:
                parse_rfc3339_ms(rule)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"it is {LATEST}, {EARLIEST} or a time such as 2026-01-31T00:00:00Z") from error
        return rule

    @field_validator("currency")
    @classmethod
    def _is_currency(cls, code: str) -> str:
        found = currency_code(code)
        if found is None:
            raise ValueError("no such currency: use an ISO 4217 code such as EUR")
        return found

    @property
    def reading_rules(self) -> ReadingRules:
        return ReadingRules(self.future_tolerance_s * SECOND_MS, self.time_zone, mapping=self._mapping_text)

    def reading_rules_with(self, mapping: str | None) -> ReadingRules:
        """Those of records that hold payments as ``mapping`` says; see ReadingRules."""
        return replace(self.reading_rules, mapping=mapping)

    @cached_property
    def _mapping_text(self) -> str | None:
        return mapping_text(self.mapping) if self.mapping else None

    @property
    def lake(self) -> Path:
        """Parquet files of everything read from Kafka, and the daily tables made from them."""
        return self.home.absolute() / "lake"

    @property
    def checkpoint(self) -> Path:
        """The streaming job's position: losing it means scoring the topic again from the start."""
        return self.home.absolute() / "checkpoint"

    @property
    def schemas(self) -> Path:
        """The registry's schemas that were used: what an id means does not change."""
        return self.home.absolute() / "schemas"

    @property
    def model_cache(self) -> Path:
        """Model versions as they were registered: what is served while the registry does not answer."""
        return self.home.absolute() / "models"

    @cached_property
    def pseudonyms(self) -> Pseudonyms | None:
        """What producers replace ids with; None: they are sent as they are."""
        return Pseudonyms(self.pseudonym_key.get_secret_value().encode()) if self.pseudonym_key else None

    def training(self) -> dict[str, int | float | str]:
        """What decides, beside the data, which model a training run makes; Settings(**of it) makes the same again."""
        names = ("label_delay_days", "validation_days", "test_days", "training_window_days", "search_folds", "seed")
        return {name: getattr(self, name) for name in (*names, "anomaly_share", "currency")}

    def environment(self) -> dict[str, str]:
        """What was set, as the variables that give a child process the same settings."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        plain = {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in values.items() if v is not None}
        return {f"FRAUD_{name.upper()}": str(value) for name, value in plain.items()}

    @property
    def _password(self) -> str | None:
        return _revealed(self.kafka_password)

    def confluent_kafka(self) -> dict[str, str]:
        """Connection settings in librdkafka's names (confluent-kafka), those of the client file among them."""
        own = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_username,
            "sasl.password": self._password,
            "ssl.ca.location": str(self.kafka_ca_file) if self.kafka_ca_file else None,
        }
        return self._with_client_file(own, self.client_options.librdkafka)

    def spark_kafka(self) -> dict[str, str]:
        """Connection options of Spark's Kafka source, in the Java client's names."""
        own = {
            # What a transaction of a producer has aborted never was. librdkafka's default, and not Java's.
            "isolation.level": "read_committed",
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.jaas.config": self._jaas(),
            "ssl.truststore.type": "PEM" if self.kafka_ca_file else None,
            "ssl.truststore.location": str(self.kafka_ca_file) if self.kafka_ca_file else None,
        }
        options = self._with_client_file(own, self.client_options.java)
        return {f"kafka.{name}": value for name, value in options.items()}

    @property
    def client_options(self) -> ClientOptions:
        """What the client file says, as it is now. OSError or ValueError when it cannot be read."""
        return parse(self.kafka_client_file.read_text()) if self.kafka_client_file else ClientOptions()

    def _with_client_file(self, own: dict[str, str | None], of_file: dict[str, str]) -> dict[str, str]:
        """ValueError when both give a client the same setting."""
        if "kafka_security_protocol" not in self.model_fields_set and "security.protocol" in of_file:
            own["security.protocol"] = None  # PLAINTEXT, which nobody asked for
        given = {name: value for name, value in own.items() if value is not None}
        if both := sorted(given.keys() & of_file.keys()):
            raise ValueError(f"{both[0]} is set by a FRAUD_KAFKA_... variable too: leave one of the two")
        return given | of_file

    @model_validator(mode="after")
    def _client_file_can_be(self) -> Self:
        try:
            self.confluent_kafka(), self.spark_kafka()
        except OSError as error:
            raise ValueError(f"FRAUD_KAFKA_CLIENT_FILE {error.filename} cannot be read: {error.strerror}") from error
        except ValueError as error:  # not text, too
            problem = "it is not UTF-8 text" if isinstance(error, UnicodeError) else error
            raise ValueError(f"FRAUD_KAFKA_CLIENT_FILE {self.kafka_client_file}: {problem}") from None
        return self

    def schema_registry(self) -> dict[str, str]:
        """Connection settings in the names of confluent-kafka's client of a schema registry."""
        user, ca_file = self.schema_registry_username, self.schema_registry_ca_file
        token = _revealed(self.schema_registry_token)
        return _without_none(
            {
                "url": self.schema_registry_url,
                "ssl.ca.location": str(ca_file) if ca_file else None,
                "basic.auth.user.info": f"{user}:{_revealed(self.schema_registry_password) or ''}" if user else None,
                "bearer.auth.credentials.source": "STATIC_TOKEN" if token else None,
                "bearer.auth.token": token,
                # The client wants one; only the registry of Confluent's cloud looks at it.
                "bearer.auth.logical.cluster": "" if token else None,
            }
        )

    def _jaas(self) -> str | None:
        if self.kafka_sasl_mechanism is None:
            return None
        module = "plain.PlainLoginModule" if self.kafka_sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        given = {"username": self.kafka_username, "password": self._password}
        options = [f"{name}={_quoted(value)}" for name, value in given.items() if value is not None]
        return f"{' '.join([f'org.apache.kafka.common.security.{module} required', *options])};"

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, without_password(value) if isinstance(value, str) else value


def without_password(address: str) -> str:
    """
    >>> without_password("redis://fraud:secret@store:6379/0")
    'redis://fraud:***@store:6379/0'
    """
    return re.sub(r"(://[^:/@]*:).*@|(\bpassword=)[^&]*", lambda m: f"{m[1]}***@" if m[1] else f"{m[2]}***", address)


def describe(error: ValidationError) -> str:
    """One sentence about the first setting that has a value it cannot have."""
    first = error.errors()[0]
    if not first["loc"]:  # what is wrong with several of them together
        return str(first["ctx"]["error"])
    name, secrets = str(first["loc"][0]), {name for name, field in Settings.model_fields.items() if _is_secret(field)}
    value = "a secret" if name in secrets else repr(first["input"])
    return f"FRAUD_{name.upper()} is set to {value}: {first['msg'].lower()}"


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _quoted(text: str) -> str:
    """As Java's StreamTokenizer reads it, which takes a login configuration apart."""
    for character, escaped in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(character, escaped)
    return f'"{text}"'


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _without_none(options: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}
