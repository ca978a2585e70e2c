"""The Dagster code location. Settings are read here, once, and handed on as resources."""

from collections.abc import Mapping

import dagster as dg

from fraud_assets.assets.evaluation.decision_threshold import decision_threshold
from fraud_assets.assets.evaluation.evaluation import evaluation
from fraud_assets.assets.evaluation.score_calibration import score_calibration
from fraud_assets.assets.features.exchange_rates import exchange_rates
from fraud_assets.assets.features.merchant_risk import merchant_risk
from fraud_assets.assets.ingestion.labels import labels
from fraud_assets.assets.ingestion.transactions import transactions
from fraud_assets.assets.monitoring.champion_quality import champion_quality
from fraud_assets.assets.monitoring.dead_letters import dead_letters
from fraud_assets.assets.monitoring.drift import drift
from fraud_assets.assets.monitoring.live_quality import live_quality
from fraud_assets.assets.monitoring.model_comparison import model_comparison
from fraud_assets.assets.monitoring.parity_audit import parity_audit
from fraud_assets.assets.monitoring.predictions import predictions
from fraud_assets.assets.monitoring.promotion import promotion
from fraud_assets.assets.registry.production_model import production_model
from fraud_assets.assets.registry.registered_model import registered_model
from fraud_assets.assets.training.balanced_training_set import balanced_training_set
from fraud_assets.assets.training.training_set import training_set
from fraud_assets.assets.training.tuned_model import tuned_model
from fraud_assets.drift_sensor import drift_sensor
from fraud_assets.jobs import daily_schedule, daily_training, hourly_schedule, merchant_risk_refresh, monitoring
from fraud_assets.lake.io_managers import IngestedIOManager, ModelIOManager, ParquetIOManager, RecordIOManager
from fraud_assets.resources import KafkaResource, mlflow_resource, spark_resource
from fraud_assets.sensors import feedback_sensor
from fraud_core.settings import Settings

ASSETS = (
    transactions,
    labels,
    merchant_risk,
    exchange_rates,
    training_set,
    balanced_training_set,
    tuned_model,
    score_calibration,
    decision_threshold,
    evaluation,
    registered_model,
    production_model,
    predictions,
    live_quality,
    dead_letters,
    drift,
    parity_audit,
    model_comparison,
    champion_quality,
    promotion,
)


def build_defs(settings: Settings, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """Everything Dagster knows about this project. ``resource_overrides`` replaces resources by key."""
    partitions = dg.DailyPartitionsDefinition(settings.partitions_start)
    lake = str(settings.lake)
    return dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=partitions), ASSETS),
        jobs=[daily_training, merchant_risk_refresh, monitoring],
        schedules=[
            daily_schedule(daily_training, settings),
            hourly_schedule(merchant_risk_refresh),
            hourly_schedule(monitoring, minute=30),
        ],
        sensors=[feedback_sensor(daily_training), drift_sensor(daily_training)],
        executor=dg.in_process_executor,
        resources={
            "settings": settings,
            "kafka": KafkaResource(settings=settings),
            "spark": spark_resource(settings),
            "mlflow": mlflow_resource(settings),
            "ingested": IngestedIOManager(lake=lake),
            "parquet": ParquetIOManager(lake=lake),
            "model": ModelIOManager(lake=lake),
            "record": RecordIOManager(lake=lake),
            **(resource_overrides or {}),
        },
    )


defs = build_defs(Settings())
