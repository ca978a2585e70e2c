"""Follows the log of exchange rate tables and offers all of them for the next micro-batch."""

import logging
import threading

from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog

log = logging.getLogger(__name__)


class ExchangeRateSource:
    """``current`` converts into ``currency`` by the tables of ``log``; a thread looks for new ones every ``poll_s``
    seconds. A table is in force an hour after it is published at the earliest."""

    def __init__(self, log: ExchangeRateLog, currency: str, poll_s: float) -> None:
        self.log = log
        self.current = ExchangeRates((), currency)
        self._poll_s = poll_s
        self._version: tuple[int, int] | None = None

    def begin(self, last: str | None) -> None:
        """Read the log; before the first decision make it where there is none. OperatorError when that fails.

        last : the newest table that payments were decided with; None before the first.
        """
        try:
            if last is None:
                self.log.begin(ecb_rates())
            else:
                self.log.tables(until=last)
            self.look()
        except LookupError as error:
            raise OperatorError(f"{error}, and payments were decided with it: restore that file from a copy") from error
        except OSError as error:
            raise OperatorError(
                f"the exchange rates cannot be read from or written to {self.log.path} ({error.strerror or error}): "
                "where the lake is read-only, let ./run prepare write them first"
            ) from error

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._follow, args=(stop,), name="exchange-rates", daemon=True).start()

    def look(self) -> None:
        """Read the log when it has changed."""
        version = self.log.version()
        if version != self._version:
            self.current = self.log.rates(self.current.currency)
            self._version = version
            log.info("exchange rate tables: %d, newest %s", len(self.current.tables), self.current.newest)

    def _follow(self, stop: threading.Event) -> None:
        while not stop.wait(self._poll_s):
            try:
                self.look()
            except (OSError, OperatorError) as error:
                log.error("the exchange rates cannot be read, the last good ones serve: %s", error)
