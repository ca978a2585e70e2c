"""The asset live_quality on a small lake: its figures, its record, its check against the model's test period."""

import dagster as dg
import mlflow
import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from benchmarks.training.data import fill_lake
from fraud_assets.assets.monitoring.live_quality import LEAST_FRAUDS
from fraud_assets.definitions import build_defs
from fraud_assets.lake.io_managers import RecordIOManager
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets_tests.assets.conftest import AS_OF_MS, PARTITION
from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.labels.quarantine import Batch
from fraud_core.monitoring.cohorts import LiveQuality
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_io.quarantine_log import QuarantineLog

pytestmark = pytest.mark.assets

LIVE_DAYS = 45


def scored(transactions: pl.DataFrame, labels: pl.DataFrame, seed: int) -> pl.DataFrame:
    """PREDICTION_COLUMNS of the last days: scores that know the frauds fairly well, a second version halfway."""
    rng = np.random.default_rng(seed)
    live = transactions.filter(pl.col("event_time_ms") >= AS_OF_MS - LIVE_DAYS * DAY_MS)
    frauds = labels.filter("is_fraud").select("transaction_id").unique()
    is_fraud = live["transaction_id"].is_in(frauds["transaction_id"].implode()).to_numpy()
    score = rng.beta(np.where(is_fraud, 4, 0.3), np.where(is_fraud, 2, 20))
    is_second = live["event_time_ms"].to_numpy() >= AS_OF_MS - LIVE_DAYS // 2 * DAY_MS
    return live.select(
        **{name: pl.lit(0.0) for name in FEATURES if name != "amount"},
        amount=pl.col("amount_minor") / 100,
        transaction_id="transaction_id",
        **{name: name for name in ("user_id", "merchant_id", "currency", "merchant_category", "channel", "country")},
        **{name: name for name in ("type", "outcome", "event_time_ms")},
        is_repeat=pl.lit(False),
        ingest_time_ms="event_time_ms",
        prediction=pl.Series((score >= 0.3).astype(np.int8)),
        score=pl.Series(score),
        threshold=pl.lit(0.3),
        model_version=pl.Series(np.where(is_second, "2", "1")),
        arm=pl.lit("champion"),
        model_is_confirmed=pl.lit(True),
        shadow_model_version=pl.lit(None),
        shadow_score=pl.lit(None),
        shadow_prediction=pl.lit(None),
        anomaly_score=pl.lit(None),
        review_sample=pl.Series((score < 0.3) & (rng.random(len(live)) < 0.02)),
        review_probability=pl.Series(np.where(score >= 0.3, 1.0, 0.02)),
        merchant_risk_table=pl.lit(None),
        exchange_rate_table=pl.lit(None),
        rate_missing=pl.lit(False),
        partition="partition",
        offset="offset",
    ).cast(PREDICTION_COLUMNS).select(list(PREDICTION_COLUMNS))  # fmt: skip


def with_verdicts(labels: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    """The labels, and what analysts said a day later of the alerts and the review sample."""
    truth = labels.filter("is_fraud")["transaction_id"].unique().implode()
    looked_at = served.filter((pl.col("prediction") == 1) | pl.col("review_sample"))
    verdicts = looked_at.select(
        "transaction_id",
        is_fraud=pl.col("transaction_id").is_in(truth),
        source=pl.lit("analyst"),
        label_time_ms=pl.col("event_time_ms") + DAY_MS,
        partition=pl.lit(1, pl.Int32),
        offset=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    return pl.concat([labels, verdicts.select(list(LABEL_COLUMNS))])


@pytest.fixture(scope="module")
def lake(tmp_path_factory, settings_in, simulated) -> Settings:
    """Two registered versions: the first logged recall intervals of its test period that nothing can reach."""
    settings = settings_in(tmp_path_factory.mktemp("home"))
    transactions, labels = simulated
    served = scored(transactions, labels, seed=1)
    fill_lake(settings, transactions, with_verdicts(labels, served))
    with OffsetLog(settings.lake / "predictions").append(TopicRange({0: 0}, {0: len(served)})) as folder:
        served.write_parquet(folder / "rows.parquet")
    experiment = mlflow.get_experiment_by_name(settings.experiment_name).experiment_id
    client = MlflowClient(settings.mlflow_address)
    client.create_registered_model(settings.model_name)
    for _ in "12":
        with mlflow.start_run(experiment_id=experiment) as run:
            client.create_model_version(settings.model_name, "nowhere", run.info.run_id)
    return settings


def log_test_recall(settings: Settings, version: str, low: float, high: float) -> None:
    client = MlflowClient(settings.mlflow_address)
    run_id = client.get_model_version(settings.model_name, version).run_id
    client.log_metric(run_id, "test_recall_low", low)
    client.log_metric(run_id, "test_recall_high", high)


def materialize(settings: Settings) -> tuple[dict[str, object], dg.AssetCheckEvaluation, LiveQuality]:
    job = build_defs(settings, {"mlflow": None}).resolve_job_def("monitoring")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            partition_key=PARTITION, asset_selection=[dg.AssetKey("live_quality")], instance=instance
        )
    [made] = result.asset_materializations_for_node("live_quality")
    [check] = result.get_asset_check_evaluations()
    record = settings.lake / "live_quality" / f"{PARTITION}.json"
    kept = RecordIOManager(lake=str(settings.lake)).read(record, LiveQuality)
    return {name: entry.value for name, entry in made.metadata.items()}, check, kept


def test_each_version_has_a_cohort_an_age_with_figures_beside_what_was_expected(lake):
    metadata, _, kept = materialize(lake)
    versions = [(cohort.model_version, cohort.maturity_days) for cohort in kept.cohorts]
    assert versions == [("1", 7), ("1", 14), ("1", 30), ("2", 7), ("2", 14)]
    newest = kept.newest()
    assert (newest.model_version, newest.maturity_days) == ("2", 7)
    assert newest.frauds >= LEAST_FRAUDS
    assert metadata.items() >= newest.numbers().items()
    assert metadata.keys() >= {"precision", "recall", "f2", "recall_low", "expected_recall", "error_of_expected_recall"}
    assert newest.recall.low < newest.recall.value < newest.recall.high
    assert newest.recall_by_review.low <= newest.recall_by_review.value <= newest.recall.value + 1e-9
    assert len(metadata["cohorts"].records) == len(kept.cohorts)
    assert metadata["recall_by_day"].startswith("![plot]")


def test_the_check_warns_when_recall_is_below_the_interval_of_the_test_period_and_says_when_it_cannot_judge(lake):
    _, check, kept = materialize(lake)
    assert (check.passed, check.metadata["is_judged"].value) == (True, False)
    recall = kept.newest().recall.value
    log_test_recall(lake, "2", recall - 0.1, 1.0)
    _, check, _ = materialize(lake)
    assert (check.passed, check.metadata["is_judged"].value) == (True, True)
    log_test_recall(lake, "2", recall + 0.01, 1.0)
    _, check, _ = materialize(lake)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_labels_in_quarantine_judge_nobody(lake):
    _, _, before = materialize(lake)
    labels = pl.read_parquet(next((lake.lake / "labels").rglob("*.parquet")))
    bounds = {p: (0, labels.filter(partition=p)["offset"].max()) for p in (0, 1)}
    QuarantineLog(lake.lake).hold([Batch("analyst", "2026-02-01", "all of it", len(labels), bounds)], "test")
    _, _, after = materialize(lake)
    QuarantineLog(lake.lake).release("analyst", "only a test", "test")
    assert after.newest().frauds < before.newest().frauds
    assert materialize(lake)[2] == before


def test_a_lake_without_predictions_gives_an_empty_record_and_no_alarm(tmp_path, settings_in):
    settings = settings_in(tmp_path)
    metadata, check, kept = materialize(settings)
    assert kept.cohorts == ()
    assert (check.passed, check.metadata["is_judged"].value) == (True, False)
    assert "recall" not in metadata
