"""What a deployment needs before its services start: topics, exchange rates, and the bucket of MLflow's artifacts."""

from urllib.parse import urlparse

from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_stack.services.kafka import create_topics


def prepare(settings: Settings) -> None:
    """Create what is missing; existing ones stay as they are. OperatorError when Kafka or the store refuses."""
    create_topics(settings)
    ExchangeRateLog(settings.lake).begin(ecb_rates())
    artifacts = urlparse(settings.mlflow_artifacts or "")
    if artifacts.scheme == "s3":
        create_bucket(artifacts.netloc)


def create_bucket(name: str) -> None:
    """Address and credentials of the object store are those of boto3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        store = boto3.client("s3")
        if name not in [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]:
            store.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(
            f"the object store of FRAUD_MLFLOW_ARTIFACTS refuses or does not answer ({error}): check AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
