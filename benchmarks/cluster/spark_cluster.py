"""A Spark standalone cluster of processes on this machine: a master and workers, each of which may be killed."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark
import requests

from fraud_stack.services.java import java_home
from fraud_stack.services.ports import free_ports
from fraud_stack.services.processes import with_children

_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
_START_S = 60.0


@dataclass(frozen=True)
class Worker:
    process: subprocess.Popen

    def kill(self) -> None:
        """As if its machine had lost power: the worker and its executor end at once."""
        for process in reversed(with_children(self.process.pid)):
            process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Cluster:
    """``address`` is what FRAUD_SPARK_MASTER takes."""

    address: str
    workers: list[Worker]
    _web: str

    def alive_workers(self) -> int:
        return requests.get(f"{self._web}/json/", timeout=10).json()["aliveworkers"]


@contextmanager
def spark_cluster(folder: Path, workers: int, memory: str) -> Iterator[Cluster]:
    """``workers`` of one core and ``memory`` (such as 512m) each. Yields once all have registered."""
    port, web = free_ports(2)
    cluster = Cluster(f"spark://127.0.0.1:{port}", [], f"http://127.0.0.1:{web}")
    with ExitStack() as processes:
        master = ("--host", "127.0.0.1", "--port", port, "--webui-port", web)
        processes.enter_context(_process("master.Master", *master))
        for number in range(workers):
            size = ("--cores", 1, "--memory", memory, "--host", "127.0.0.1", "--webui-port", 0)
            at = ("--work-dir", folder / f"worker-{number}", cluster.address)
            cluster.workers.append(Worker(processes.enter_context(_process("worker.Worker", *size, *at))))
        deadline = time.monotonic() + _START_S
        while not _have_registered(cluster, workers):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the workers have not registered within {_START_S:.0f} s")
            time.sleep(0.2)
        yield cluster


def _have_registered(cluster: Cluster, workers: int) -> bool:
    try:
        return cluster.alive_workers() == workers
    except requests.RequestException:
        return False


@contextmanager
def _process(name: str, *arguments: object) -> Iterator[subprocess.Popen]:
    java = java_home()
    environment = os.environ | {
        "JAVA_HOME": str(java),
        "PATH": os.pathsep.join([str(java / "bin"), os.environ["PATH"]]),
        "SPARK_DAEMON_MEMORY": "128m",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    command = [_CLASS, f"org.apache.spark.deploy.{name}", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        left = with_children(process.pid)
        for one in left:
            one.terminate()
        for one in psutil.wait_procs(left, timeout=10)[1]:
            one.kill()
