"""How MLflow's client behaves in every process of ours that uses it, and what its errors mean."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from fraud_core.settings import without_password


class MlflowError(ConnectionError):
    """MLflow does not answer, or refuses what was asked, in one sentence."""


class NotInMlflowError(MlflowError):
    """It answers, and has nothing of that name."""


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


@contextmanager
def errors_in_words(address: str) -> Iterator[None]:
    """Raises MlflowError for what MLflow's client raises in the block. address : of the server.

    Imports MLflow, which takes seconds.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        at = f"MLflow at {without_password(address)}"
        if isinstance(error.__context__, requests.RequestException):
            raise MlflowError(f"{at} does not answer: start it with ./run up, or set FRAUD_MLFLOW_URL") from error
        kind = NotInMlflowError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else MlflowError
        raise kind(f"{at} refuses: {str(error).splitlines()[0]}") from error
