"""The one way to make a client that asks about topics and makes them."""

import logging
from typing import Any

from confluent_kafka.admin import AdminClient

from fraud_core.settings import Settings
from fraud_io.kafka.errors import QUIET, KafkaRefusals, settings_in_words


def make_admin(settings: Settings, refusals: KafkaRefusals | None = None, log: logging.Logger = QUIET) -> AdminClient:
    """``refusals`` learns why a broker lets it not in. ``log``: who is told of brokers that are down.

    Raises OperatorError when librdkafka does not take a setting.
    """
    options: dict[str, Any] = {**settings.confluent_kafka()}
    if refusals is not None:
        options["error_cb"] = refusals.note
    with settings_in_words():
        return AdminClient(options, logger=log)
