"""``python -m streaming.commands.explain TRANSACTION_ID``: recompute a decision and compare it with the served one.

Everything is taken from the places that the decision names: the user's records of its partition up to its offset, the
merchant risk table and the model versions it names. The recomputation goes through the scorer and the encoder, so equal
means equal bytes. An id that was sent twice has two decisions; both are explained.

Exit status: 0 all equal, 1 one differs or cannot be computed again, 2 the call is wrong.
"""

import threading
from dataclasses import dataclass
from typing import Annotated

import orjson
import polars as pl
import typer

from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.table import compute_features
from fraud_core.model.roles import CHALLENGER
from fraud_core.payments.transaction import decode_transactions
from fraud_core.settings import Settings, without_password
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.folders import Lake
from fraud_io.kafka.reader import Record, TopicReader
from fraud_io.model_registry import ModelRegistry
from fraud_io.schema_registry.messages import opener, reading_rules
from fraud_io.schema_registry.predictions import as_json
from streaming.commands.command_line import run
from streaming.errors import StoppedError
from streaming.job.batch_plan import PLANS, PlanLog
from streaming.job.scorer import Serving, decide
from streaming.models import merchant_risk_source
from streaming.models.model_cache import Models, ServedModel
from streaming.models.model_source import ModelSource

_CHUNK = 20_000

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Explanation:
    """``served`` and ``recomputed`` are the JSON bytes; ``missing_before`` the offset below which the topic is gone."""

    served: bytes
    recomputed: bytes
    missing_before: int

    def differences(self) -> list[tuple[str, object, object]]:
        """Name, served value, recomputed value of each field that differs; features and reasons one by one."""
        served, recomputed = _flat(orjson.loads(self.served)), _flat(orjson.loads(self.recomputed))
        names = dict.fromkeys([*served, *recomputed])
        return [(n, served.get(n), recomputed.get(n)) for n in names if served.get(n) != recomputed.get(n)]


class Explainer:
    """Explains decisions with the models in the job's folder, or from the registry when they are not there.

    ``rules`` are those of the job's last plan: they determine which of the user's earlier records were refused.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._reader = TopicReader(settings)
        registry = ModelRegistry(settings.mlflow_address, settings.model_name)
        plan = PlanLog(settings.checkpoint / PLANS).last()
        self.rules = plan.rules(opener(settings)) if plan else reading_rules(settings)
        self._currency = plan.currency if plan else settings.currency
        self._models = ModelSource(registry, settings.model_cache, settings.model_poll_s, self._currency)

    def served(self, transaction_id: str) -> list[bytes]:
        """The different predictions of an id, in the order of their partitions and offsets."""
        beginning = b'{"transaction_id":' + orjson.dumps(transaction_id) + b","
        found, read = self._reader.read(self._topics.predictions), as_json(self._settings)
        values = {value: None for message in found if (value := read(message.value())).startswith(beginning)}
        return sorted(values, key=lambda value: (orjson.loads(value)["partition"], orjson.loads(value)["offset"]))

    def explain(self, value: bytes) -> Explanation:
        """Raises OperatorError when something the decision was made from is no longer there."""
        served = orjson.loads(value)
        decided, shadow = served["model_version"], served["shadow_model_version"]
        is_challengers = served["arm"] == CHALLENGER
        names = (shadow, decided) if is_challengers else (decided, shadow)
        champion, challenger = (self._model(name) for name in names)
        models = Models(champion, challenger, is_confirmed=served["model_is_confirmed"])
        table = served["merchant_risk_table"]
        folder = Lake(self._settings.lake).merchant_risk
        try:
            tables = merchant_risk_source.load(folder, (table,) if table else ())
        except FileNotFoundError as error:
            raise OperatorError(
                f"the merchant risk table {table} is not in {folder}: restore it, or FRAUD_HOME"
            ) from error
        arrived, ignored = self._arrived(served["partition"], served["offset"], served["user_id"])
        rates = self._rates(served.get("exchange_rate_table"))
        batch = compute_features(arrived, None, tables.risk, rates)
        repeats = frozenset((0,) if batch.is_repeat[-1] else ())
        serving = Serving(models, tables, self.rules, float(is_challengers), served["review_probability"])
        last, used = arrived[-1:], rates.used_for(arrived[-1:])
        (recomputed,), _ = decide(last, batch.values[-1:], serving, {0: ignored}, repeats, used)
        beginning = self._reader.bounds(self._topics.transactions)[served["partition"]][0]
        return Explanation(value, recomputed, beginning)

    def _rates(self, table: str | None) -> ExchangeRates:
        """Those in the log; ``table`` must be among them, and later ones change nothing."""
        log = ExchangeRateLog(self._settings.lake)
        try:
            log.tables(until=table)
        except LookupError as error:
            raise OperatorError(f"{error}: restore it, or FRAUD_HOME") from error
        return log.rates(self._currency)

    def _arrived(self, partition: int, offset: int, user_id: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
        """The user's transactions of a partition up to and with ``offset``, and which fields of the last one were
        ignored. Bounded memory but for these."""
        parts: list[pl.DataFrame] = []
        ignored: tuple[str, ...] = ()
        chunk: list[Record] = []

        def take() -> None:
            decoded = decode_transactions(
                [message.value() for message in chunk],
                [partition] * len(chunk),
                [message.offset() for message in chunk],
                [message.timestamp()[1] for message in chunk],
                self.rules,
            )
            nonlocal ignored
            ignored = decoded.ignored.get(len(decoded.transactions) - 1, ())
            parts.append(decoded.transactions.filter(pl.col("user_id") == user_id))
            chunk.clear()

        for message in self._reader.read(self._topics.transactions, {partition: (0, offset + 1)}):
            chunk.append(message)
            if len(chunk) == _CHUNK:
                take()
        if chunk:
            take()
        arrived = pl.concat(parts)
        if arrived.is_empty() or arrived["offset"][-1] != offset:
            raise OperatorError(
                f"the transaction is not at offset {offset} of partition {partition} any more: retention has "
                "removed it, the topic was made anew, or FRAUD_FUTURE_TOLERANCE_S or FRAUD_TIME_ZONE has changed"
            )
        return arrived, ignored

    def _model(self, version: str | None) -> ServedModel | None:
        asked_once = threading.Event()
        asked_once.set()
        try:
            return self._models.get(version, asked_once)
        except StoppedError as error:
            raise OperatorError(
                f"model version {version} is neither in {self._settings.model_cache} nor does MLflow at "
                f"{without_password(self._settings.mlflow_address)} hand it out: start it with ./run up, or set "
                "FRAUD_MLFLOW_URL"
            ) from error
        except ValueError as error:
            raise OperatorError(f"model version {version} cannot be used any more: {error}") from error


def _flat(prediction: dict) -> dict[str, object]:
    reasons = {f"reason {number}": reason for number, reason in enumerate(prediction.pop("reasons"), start=1)}
    return prediction | prediction.pop("features") | reasons


@app.command()
def explain(transaction_id: Annotated[str, typer.Argument(help="As in the transaction.")]) -> int:
    """Recompute the decision on a transaction and compare it with what was served."""
    settings = Settings()
    explainer = Explainer(settings)
    if explainer.rules != settings.reading_rules:
        print(
            f"The job decides by {explainer.rules}, which is used here; the settings are {settings.reading_rules} now."
        )
    decisions = explainer.served(transaction_id)
    if not decisions:
        raise OperatorError(
            f"no prediction of {transaction_id} is in {settings.topics.predictions}: it is not decided yet, was "
            "refused (see ./run dead-letters), or was never sent"
        )
    are_equal = True
    for value in decisions:
        explanation = explainer.explain(value)
        _show(explanation)
        are_equal = are_equal and explanation.recomputed == value
    return 0 if are_equal else 1


def _show(explanation: Explanation) -> None:
    served, recomputed = (_flat(orjson.loads(value)) for value in (explanation.served, explanation.recomputed))
    differing = {name for name, *_ in explanation.differences()}
    print(f"partition {served['partition']}, offset {served['offset']}")
    print(f"  {'':28} {'served':>24} {'recomputed':>24}")
    for name in dict.fromkeys([*served, *recomputed]):
        mark = "  differs" if name in differing else ""
        print(f"  {name:28} {_text(served.get(name)):>24} {_text(recomputed.get(name)):>24}{mark}")
    if explanation.missing_before:
        print(f"  records below offset {explanation.missing_before} are no longer in the topic")
    is_equal = explanation.served == explanation.recomputed
    print("  equal to the bit" if is_equal else f"  NOT EQUAL: {len(differing)} fields differ")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['feature']} = {value['value']} ({value['contribution']:+})"
    return str(value)


if __name__ == "__main__":
    run(app)
