"""How MLflow's client behaves in every process of ours that uses it."""

import os


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
