"""Where things lie that more than one package uses: the repository, and the Java archives beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JARS = ROOT / ".jars"
SPARK_JARS = JARS / "spark"
BROKER_JARS = JARS / "broker"
