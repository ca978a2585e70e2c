"""The streaming job: ``python -m streaming.job``. Configured by FRAUD_* settings; SIGTERM or SIGINT ends it.

Spark decides what a micro-batch is and remembers that it was done; the batch is collected as Arrow on the driver and
scored there (micro_batch). Delivery is at least once: a crash runs the last micro-batch again, with the same bytes.

Exit status: 0 stopped on request, 1 failed (start it again), 2 refused (somebody must act first).
"""

import argparse
import logging
import signal
import sys
import threading

from prometheus_client import start_http_server
from py4j.protocol import Py4JError

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.errors import KafkaUnavailableError
from fraud_io.schema_registry.errors import RegistryUnavailableError
from streaming import failpoints, log_lines
from streaming.errors import StoppedError
from streaming.job.query import StreamingJob
from streaming.job.start_check import check_format
from streaming.state.checkpoint import Checkpoint

log = logging.getLogger("streaming.job")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m streaming.job", description=__doc__.splitlines()[0])
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    is_debugging = parser.parse_args().debug
    log_lines.configure()
    for noisy in ("py4j", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    settings = Settings()
    failpoints.use(settings.failpoints)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    checkpoint = Checkpoint(settings.checkpoint, settings.topics.transactions)
    try:
        with checkpoint.locked():
            checkpoint.check()
            check_format(checkpoint)
            _serve_metrics(settings)
            StreamingJob(settings, checkpoint, stop).run()
    except StoppedError:
        pass
    except (KafkaUnavailableError, RegistryUnavailableError) as error:
        log.error("failed: %s", error, exc_info=is_debugging)
        return 1
    except OperatorError as refusal:
        log.error("refused: %s", refusal, exc_info=is_debugging)
        return 2
    except (Py4JError, ConnectionError):
        log.error("failed: the Java process of Spark is gone", exc_info=is_debugging)
        return 1
    except Exception as error:
        log.error("failed: %s", f"{type(error).__name__}: {error}".splitlines()[0], exc_info=is_debugging)
        return 1
    log.info("stopped")
    return 0


def _serve_metrics(settings: Settings) -> None:
    try:
        start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        raise OperatorError(
            f"port {settings.metrics_port} of {settings.host} cannot be used for metrics ({error.strerror}): set "
            "FRAUD_METRICS_PORT to another one"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
