"""Whether the model registry's server answers."""

from collections.abc import Iterable

import requests
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_TIMEOUT_S = 2.0


class MlflowCollector(Collector):
    def __init__(self, address: str) -> None:
        self._address = address

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            is_up = requests.get(f"{self._address}/health", timeout=_TIMEOUT_S).ok
        except requests.RequestException:
            is_up = False
        yield GaugeMetricFamily("fraud_mlflow_up", "1 when MLflow answered", value=float(is_up))
