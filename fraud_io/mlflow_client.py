"""How MLflow's client behaves in every process of ours that uses it, and what its errors mean."""

import os

import requests


def fail_fast() -> None:
    """Its defaults stall for minutes on a server that is gone, and draw progress bars into logs."""
    os.environ.update(
        {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "GIT_PYTHON_REFRESH": "quiet",
        }
    )


def in_words(error: Exception, address: str) -> str:
    """What an MlflowException means, in one sentence. address : of the server."""
    if isinstance(error.__context__, requests.RequestException):
        return f"MLflow at {address} does not answer: start it with ./run up, or set FRAUD_MLFLOW_URL"
    return f"MLflow at {address} refuses: {str(error).splitlines()[0]}"
