"""The Prometheus endpoint for services that have none: ``python -m fraud_stack.exporter``, configured by Settings.

Dagster's runs, checks and figures, the records of the topics, MLflow. The stream has an endpoint of its own
(streaming.metrics). Each scrape queries them again: no state is kept, so it may be restarted at any time.
"""

import signal
import sys

from prometheus_client import CollectorRegistry, start_http_server

from fraud_core.settings import Settings
from fraud_stack.exporter.dagster_metrics import DagsterCollector
from fraud_stack.exporter.kafka_metrics import KafkaCollector
from fraud_stack.exporter.mlflow_metrics import MlflowCollector


def main() -> None:
    settings = Settings()
    registry = CollectorRegistry()
    registry.register(DagsterCollector(settings.dagster_address))
    registry.register(KafkaCollector(settings))
    registry.register(MlflowCollector(settings.mlflow_address))
    _, server = start_http_server(settings.exporter_port, settings.host, registry)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container has no default for it
    server.join()


if __name__ == "__main__":
    main()
