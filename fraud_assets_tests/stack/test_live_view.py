"""What the demo says about a stream, from records as they come from Kafka."""

from dataclasses import dataclass

import orjson

from fraud_core.labels.known import encode_feedback
from fraud_core.timestamps import format_rfc3339_ms
from fraud_stack.demo.watch import LiveView


@dataclass(frozen=True)
class Record:
    """The part of a confluent_kafka Message the view reads."""

    body: bytes
    time_ms: int = 0

    def value(self) -> bytes:
        return self.body

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time_ms


def prediction(name: str, *, flagged: bool = False, version: str | None = "1", latency_ms: int = 100) -> Record:
    fields = {
        "transaction_id": name,
        "prediction": int(flagged),
        "model_version": version,
        "ingest_time": format_rfc3339_ms(1_000_000),
    }
    return Record(orjson.dumps(fields), 1_000_000 + latency_ms)


def fraud_label(name: str) -> Record:
    return Record(encode_feedback(name, True, "chargeback", 0))


def test_predictions_without_a_model_do_not_count():
    view = LiveView(label_delay_s=10)
    view.add_predictions([prediction("a", version=None)], now=1.0)
    assert (view.first_at, view.predictions, view.latency_ms()["p50"]) == (None, 0, None)


def test_latency_is_from_record_time_to_record_time():
    view = LiveView(label_delay_s=10)
    view.add_predictions([prediction(str(ms), latency_ms=ms) for ms in range(1, 101)], now=1.0)
    assert view.latency_ms() == {"p50": 50, "p95": 95, "p99": 99}


def test_an_alert_is_right_once_labelled_fraud_and_wrong_once_the_delay_passed_in_silence():
    view = LiveView(label_delay_s=10)
    view.add_predictions([prediction("right", flagged=True), prediction("wrong", flagged=True)], now=1.0)
    view.add_predictions([prediction("missed"), prediction("genuine")], now=1.0)
    assert (view.precision, view.recall) == (None, None)

    view.add_labels([fraud_label("right"), fraud_label("missed"), fraud_label("never seen")])
    view.mature(now=5.0)
    assert (view.precision, view.recall) == (1.0, 0.5)
    view.mature(now=11.5)
    assert (view.precision, view.recall) == (0.5, 0.5)


def test_a_label_that_comes_twice_counts_once():
    view = LiveView(label_delay_s=10)
    view.add_predictions([prediction("a", flagged=True)], now=1.0)
    view.add_labels([fraud_label("a"), fraud_label("a")])
    assert view.labelled == {"caught": 1, "false_alerts": 0, "missed": 0}
