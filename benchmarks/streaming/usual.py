"""How projects of this kind usually do it: a pandas UDF per batch, one model from a pickle, constants for history.

Spark's own Kafka source and sink, its default settings. It answers every transaction, so that it can be measured.
"""

import os
import pickle
import signal
import sys

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, dayofweek, from_json, hour, lit, pandas_udf, struct, to_json
from pyspark.sql.types import DoubleType, StringType, StructField, StructType, TimestampType

from fraud_core.features.table import FEATURES
from fraud_core.settings import Settings
from fraud_io.folders import SPARK_JARS

_THRESHOLD = 0.6
_TRANSACTION = StructType(
    [
        StructField("transaction_id", StringType()),
        StructField("user_id", StringType()),
        StructField("merchant_id", StringType()),
        StructField("amount", DoubleType()),
        StructField("currency", StringType()),
        StructField("timestamp", TimestampType()),
    ]
)


def main() -> None:
    settings = Settings()
    jars = sorted(str(jar) for jar in SPARK_JARS.glob("*.jar"))
    builder = SparkSession.builder.appName("usual").master("local[*]").config("spark.jars", ",".join(jars))
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = builder.config("spark.ui.port", str(settings.spark_ui_port)).getOrCreate()
    model = spark.sparkContext.broadcast(pickle.loads((settings.home / "model.pkl").read_bytes()))

    @pandas_udf("double")
    def score(features: pd.DataFrame) -> pd.Series:
        return pd.Series(model.value.predict_proba(features)[:, 1])

    of_the_transaction = {
        "amount": col("amount"),
        "hour_of_day": hour("timestamp").cast("double"),
        "day_of_week": dayofweek("timestamp").cast("double"),
    }
    features = [of_the_transaction.get(name, lit(1000.0)).alias(name) for name in FEATURES]
    transactions = (
        spark.readStream.format("kafka")
        .options(**settings.spark_kafka())
        .option("subscribe", settings.topics.transactions)
        .option("startingOffsets", "earliest")
        .load()
        .select(from_json(col("value").cast("string"), _TRANSACTION).alias("transaction"))
        .select("transaction.*")
    )
    scored = transactions.withColumn("score", score(struct(*features)))
    prediction = scored.withColumn("prediction", (col("score") >= _THRESHOLD).cast("int"))
    query = (
        prediction.select(col("user_id").alias("key"), to_json(struct("*")).alias("value"))
        .writeStream.format("kafka")
        .options(**settings.spark_kafka())
        .option("topic", settings.topics.predictions)
        .option("checkpointLocation", str(settings.home / "usual-checkpoint"))
        .start()
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    query.awaitTermination()


if __name__ == "__main__":
    main()
