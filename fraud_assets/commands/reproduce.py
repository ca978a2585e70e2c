"""``python -m fraud_assets.commands.reproduce RUN_ID``: train a logged model again and compare the two bit for bit.

From the MLflow run come the offsets, the settings and the parameters; from the lake the rows. Everything else is
computed again: training set, balanced set, trees, calibration, threshold, test metrics. Only the search is not
repeated: what it chose is a parameter of the run. Exit status: 0 all equal, 1 something differs, 2 not possible.
"""

import argparse
import sys
from collections.abc import Iterator

import mlflow
import polars as pl
from mlflow.entities import Run

from fraud_assets.lake.io_managers import INGESTED
from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.lineage import ORIGIN, digest, metrics_of
from fraud_assets.registry import Registry
from fraud_core.evaluation.report import evaluate
from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.table import FEATURES
from fraud_core.labels.quarantine import without
from fraud_core.model.stored import StoredModel
from fraud_core.settings import Settings
from fraud_core.training.recipe import train
from fraud_core.training.training_set import build_training_set, time_split
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.mlflow_client import MlflowError, errors_in_words, fail_fast
from fraud_io.quarantine_log import QuarantineLog


class NotReproducibleError(Exception):
    """What the run was made from is gone; the message says what, in one sentence."""


def compare(run: Run, settings: Settings) -> Iterator[tuple[str, object, object]]:
    """What was logged and what comes out now, in turn: name, logged, now."""
    origin = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{ORIGIN}")
    then = Settings(**{**settings.model_dump(), **origin["settings"]})
    logged = _model(run, settings)
    transactions, labels = (_ingested(settings, name, origin["offsets"][name]) for name in INGESTED)
    quarantine, lines = QuarantineLog(settings.lake), origin.get("quarantine_lines", 0)  # none before there was one
    if len(quarantine) < lines:
        raise NotReproducibleError(f"{quarantine.path} has lost lines: {lines} are needed to tell what was held back")
    labels = without(labels, quarantine.held(lines))
    rows = build_training_set(
        transactions, labels, origin["as_of_ms"], then, _exchange_rates(then, origin.get("exchange_rates"))
    )
    digests = {used.dataset.name: used.dataset.digest for used in (run.inputs.dataset_inputs if run.inputs else ())}
    yield "training set", digests["training_set"], digest(rows)

    ratio, window = float(run.data.params["smote_ratio"]), time_split(origin["as_of_ms"], then).train
    trained = train(rows, window, then, smote_ratio=ratio, params=logged.card["params"])
    now = StoredModel.of(trained.model)
    yield "balanced training set", digests["balanced_training_set"], digest(trained.balanced)
    yield "trees and anomaly detector", logged.ubj, now.ubj
    yield "calibration", logged.card["calibration"], now.card["calibration"]
    yield "threshold", logged.card["threshold"], now.card["threshold"]
    test = rows.filter(pl.col("split") == "test")
    scores = trained.model.score(test.select(FEATURES).to_numpy())
    metrics = metrics_of(evaluate(test, scores, trained.threshold.value), "test")
    yield "test metrics", {name: run.data.metrics.get(name) for name in metrics}, metrics


def _exchange_rates(then: Settings, newest: str | None) -> ExchangeRates:
    try:
        return ExchangeRateLog(then.lake).rates(then.currency, newest)
    except LookupError as error:
        raise NotReproducibleError(str(error)) from error


def _model(run: Run, settings: Settings) -> StoredModel:
    registry = Registry(settings, "reproduce")
    version = registry.version_of(run.info.run_id)
    if version is None:
        raise NotReproducibleError(f"no model was registered from run {run.info.run_id}: its training did not end")
    try:
        return registry.load(version)
    except ValueError as error:
        raise NotReproducibleError(f"version {version} of it cannot be used: {error}") from error


def _ingested(settings: Settings, name: str, ends: dict[str, int]) -> pl.DataFrame:
    """The rows that the run could read: those before the offsets where it stopped."""
    ends_of = pl.LazyFrame({"partition": [int(p) for p in ends], "end": list(ends.values())})
    log = OffsetLog(settings.lake / name)
    missing = {p: end for p, end in ends.items() if log.position().get(int(p), 0) < end}
    if missing:
        raise NotReproducibleError(
            f"the lake in {settings.lake} holds less of {name} than the run read (up to {missing}): set FRAUD_HOME to "
            "where it was trained"
        )
    return (
        log.scan(INGESTED[name])
        .join(ends_of.cast({"partition": pl.Int32, "end": pl.Int64}), on="partition")
        .filter(pl.col("offset") < pl.col("end"))
        .select(list(INGESTED[name]))
        .collect()
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run reproduce", description=__doc__.split(": ", 1)[1])
    parser.add_argument("run_id", metavar="RUN_ID", help="of MLflow: the daily run shows it, and so does each version")
    settings, run_id = Settings(), parser.parse_args().run_id
    fail_fast()
    mlflow.set_tracking_uri(settings.mlflow_address)
    try:
        differing = []
        with errors_in_words(settings.mlflow_address):
            for name, logged, now in compare(mlflow.get_run(run_id), settings):
                print(f"   {name:26} {'equal' if logged == now else 'DIFFERS'}", flush=True)
                if logged != now:
                    differing.append(name)
    except NotReproducibleError as error:
        print(f"fraud: run {run_id} cannot be made again: {error}", file=sys.stderr)
        return 2
    except MlflowError as error:
        print(f"fraud: run {run_id} cannot be read: {error}", file=sys.stderr)
        return 2
    if differing:
        print(f"fraud: run {run_id} does not reproduce: {', '.join(differing)}", file=sys.stderr)
        return 1
    print(f"Run {run_id} reproduces to the bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
