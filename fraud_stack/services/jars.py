"""The JVM jars the stack needs and Python packages do not hold: fetched by Maven coordinates, verified, kept in .jars.

``jars.lock`` names every jar, so nothing is resolved when fetching. jgo is the Maven client: it needs no Java.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fraud_io.errors import OperatorError
from fraud_io.files import replacing
from fraud_io.folders import JARS

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).parent / "jars.lock"

# What the lock is made from. A set whose coordinates are resolved takes their dependencies along, the others do not.
_KAFKA = "4.4.0"
_RESOLVED = {
    "broker": [f"org.apache.kafka:{name}:{_KAFKA}" for name in ("kafka_2.13", "kafka-clients", "kafka-storage")]
}
_ALONE = {
    "broker": ["org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"],  # the version of the broker's own log4j-core
    "spark": [
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
        "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.2.0",
        "org.apache.kafka:kafka-clients:3.9.2",
        "org.apache.commons:commons-pool2:2.12.1",
        "com.globalmentor:hadoop-bare-naked-local-fs:0.1.0",
    ],
}
_PARALLEL_DOWNLOADS = 8
_ATTEMPTS = 3


@dataclass(frozen=True)
class Jar:
    """One line of the lock: which set (folder) a jar belongs to, its coordinates, its SHA-256 in hexadecimal."""

    folder: str
    coordinates: str
    sha256: str

    @property
    def path(self) -> Path:
        _, artifact, version = self.coordinates.split(":")
        return JARS / self.folder / f"{artifact}-{version}.jar"


def locked_jars(lock_file: Path = LOCK_FILE) -> list[Jar]:
    lines = lock_file.read_text().splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def missing_jars(jars: Iterable[Jar]) -> list[Jar]:
    """Those not fetched yet. A jar gets its final name only once it is verified."""
    return [jar for jar in jars if not jar.path.exists()]


def fetch(show: Callable[[str], None]) -> None:
    """Make .jars hold exactly the jars of the lock. Interrupted, it leaves complete jars; called again, it goes on."""
    jars = locked_jars()
    missing = missing_jars(jars)
    if missing:
        show(f"Fetching {len(missing)} Java archives (Kafka broker, Spark's Kafka connector)")
        _download(missing, show)
    _remove_others(jars)


def _download(jars: list[Jar], show: Callable[[str], None]) -> None:
    JARS.mkdir(exist_ok=True)
    for leftover in JARS.glob("download-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix="download-", dir=JARS) as temporary:
        pool = ThreadPoolExecutor(_PARALLEL_DOWNLOADS)
        try:
            futures = {pool.submit(_get, jar.coordinates, Path(temporary) / jar.folder): jar for jar in jars}
            for done, future in enumerate(as_completed(futures), start=1):
                jar, file = futures[future], future.result()
                _verify(jar, file)
                with replacing(jar.path, durably=True) as new:  # what has its final name is not verified again
                    file.rename(new)
                show(f"  {done:2}/{len(jars)} {jar.path.name}")
        finally:
            pool.shutdown(cancel_futures=True)


def _verify(jar: Jar, file: Path) -> None:
    digest = _sha256(file)
    if digest != jar.sha256:
        raise OperatorError(
            f"{jar.coordinates} is not the file this project was built with (SHA-256 {digest}, {LOCK_FILE.name} says "
            f"{jar.sha256}): nothing was installed from it; check the Maven mirror this machine uses"
        )


def _remove_others(jars: list[Jar]) -> None:
    """Jars of an earlier lock might come first on the class path."""
    wanted = {jar.path for jar in jars}
    for path in JARS.glob("*/*.jar"):
        if path not in wanted:
            path.unlink()


def _get(coordinates: str, repository: Path) -> Path:
    """Download one jar, without its dependencies, into the folder ``repository``."""
    import requests

    group, artifact, version = coordinates.split(":")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return maven(repository).project(group, artifact).at_version(version).artifact().resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            if attempt == _ATTEMPTS:
                raise OperatorError(
                    f"{coordinates} could not be fetched ({error}): check the network and run ./run jars again"
                ) from error
            shutil.rmtree(repository / Path(*group.split(".")) / artifact / version, ignore_errors=True)
    raise AssertionError("unreachable")


def maven(repository: Path) -> "MavenContext":
    """A Maven client whose cache is ``repository``."""
    # requests reads REQUESTS_CA_BUNDLE only; behind an intercepting proxy often just the general variable is set.
    if "SSL_CERT_FILE" in os.environ:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])
    from jgo.maven import MavenContext

    return MavenContext(repo_cache=repository, timeout=60)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_lock(show: Callable[[str], None]) -> None:
    """Resolve the coordinates above, download everything once and write ``jars.lock``. For maintainers."""
    lines = [
        "# Every Java archive of the embedded stack: folder, group:artifact:version, SHA-256.",
        "# Written by `./run jars --lock`; the coordinates it starts from are in jars.py.",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        for folder in sorted(_RESOLVED.keys() | _ALONE.keys()):
            repository = Path(temporary) / folder
            coordinates = sorted({*_with_dependencies(_RESOLVED.get(folder, []), repository), *_ALONE[folder]})
            show(f"{folder}: {len(coordinates)} archives")
            with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
                files = pool.map(_get, coordinates, [repository] * len(coordinates))
                lines += [f"{folder} {name} {_sha256(file)}" for name, file in zip(coordinates, files, strict=True)]
    LOCK_FILE.write_text("\n".join(lines) + "\n")


def _with_dependencies(coordinates: list[str], repository: Path) -> list[str]:
    if not coordinates:
        return []
    context = maven(repository)
    roots, dependencies = context.resolver.resolve([context.create_dependency(name) for name in coordinates])
    return [f"{jar.groupId}:{jar.artifactId}:{jar.version}" for jar in (*roots, *dependencies)]
