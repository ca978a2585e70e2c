"""Which assets' metadata Prometheus sees. A new asset is one more line; checks and jobs are exported without one."""

ASSETS: dict[str, tuple[str, ...]] = {
    "transactions": (),
    "labels": (),
    "merchant_risk": (),
    "training_set": (),
    "tuned_model": (),
    "decision_threshold": (),
    "evaluation": (),
    "registered_model": ("version", "stage"),
    "production_model": ("champion", "candidate", "candidate_stage"),
}
"""Name of an asset: which texts of its metadata become labels of ``fraud_<asset>_info``.

Each number or truth value of the last materialization's metadata is a gauge ``fraud_<asset>_<entry>``.
"""
