"""How a micro-batch is cut into lanes, and that no process outlives the job it belongs to."""

import subprocess
import sys

import psutil
import pytest

from fraud_assets_tests.streaming.parts import payments, ranges, records
from streaming.job.lanes import Part, cut

pytestmark = pytest.mark.streaming

JOB = """
import threading
from concurrent.futures import wait
from fraud_core.settings import Settings
from streaming.job.lanes import Lanes

lanes = Lanes(Settings(), "stream", None, threading.Event())
lanes._start()
wait(lanes._started)
print(*lanes._pool._processes, flush=True)
threading.Event().wait()
"""


def lengths(stream, count: int) -> list[int]:
    ends = dict(stream.group_by("partition").len().rows())
    parts = cut(Part(records(stream), ranges({}, ends)), count)
    for table, covered in parts:
        assert set(table["partition"].to_pylist()) == set(covered)
        assert len(table) == sum(of.end - of.start for of in covered.values())
    assert sorted(at for _, covered in parts for at in covered) == sorted(ends)
    return [len(table) for table, _ in parts]


def test_lanes_get_complete_partitions_and_about_as_many_records_each():
    assert lengths(payments(120, users=4, partitions=4), 2) == [60, 60]
    assert sorted(lengths(payments(120, users=3, partitions=4), 2)) == [40, 80]
    assert lengths(payments(120, users=4, partitions=2), 4) == [60, 60]
    assert lengths(payments(120, users=4, partitions=1), 2) == [120]


def test_a_process_ends_with_the_job_that_is_killed():
    job = subprocess.Popen([sys.executable, "-c", JOB], stdout=subprocess.PIPE, text=True)
    line = job.stdout.readline()
    while not line.strip().isdecimal():  # what the process logs comes first
        line = job.stdout.readline()
    lane = psutil.Process(int(line))
    job.kill()
    job.wait()
    job.stdout.close()
    lane.wait(timeout=20)
