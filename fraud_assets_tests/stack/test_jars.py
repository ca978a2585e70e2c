import subprocess
from importlib.metadata import version

import pytest

from fraud_io.errors import OperatorError
from fraud_stack.services.jars import Jar, _verify, locked_jars
from fraud_stack.services.java import packaged_java_home


def versions(folder: str) -> dict[str, str]:
    return dict(jar.coordinates.split(":")[1:] for jar in locked_jars() if jar.folder == folder)


def test_every_locked_jar_has_its_own_file_and_a_sha256():
    jars = locked_jars()
    assert len({jar.path for jar in jars}) == len(jars)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)


def test_the_connector_is_the_one_of_the_installed_spark():
    spark = versions("spark")
    assert spark["spark-sql-kafka-0-10_2.13"] == spark["spark-token-provider-kafka-0-10_2.13"] == version("pyspark")


def test_the_broker_jars_are_of_one_release_and_its_log_goes_through_the_log4j_it_brings():
    broker = versions("broker")
    assert len({number for name, number in broker.items() if name.startswith("kafka")}) == 1
    assert broker["log4j-slf4j-impl"] == broker["log4j-core"]


def test_a_file_with_other_bytes_than_the_locked_ones_is_refused(tmp_path):
    file = tmp_path / "a.jar"
    file.write_bytes(b"tampered")
    with pytest.raises(OperatorError, match="org:a:1 is not the file"):
        _verify(Jar("broker", "org:a:1", "0" * 64), file)


def test_the_packaged_java_takes_what_spark_asks_for_and_hands_on_other_arguments_whole(tmp_path):
    home = packaged_java_home(tmp_path)
    command = [
        home / "bin" / "java",
        "--add-modules=jdk.incubator.vector",
        "-Dspaced=a 'b' $c",
        "-XshowSettings:properties",
    ]
    shown = subprocess.run([*command, "-version"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert "spaced = a 'b' $c" in shown.stderr
