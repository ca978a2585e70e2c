import polars as pl
import pytest

from fraud_assets.lineage import digest

pytestmark = pytest.mark.assets

FRAME = pl.DataFrame({"id": ["a", None, "c"], "is_fraud": [True, False, None], "amount": [1.5, None, 3.0]})


def test_the_digest_is_of_the_values_and_not_of_how_they_lie_in_memory(tmp_path):
    FRAME.write_parquet(tmp_path / "frame.parquet", row_group_size=1)
    in_pieces = pl.concat([FRAME.head(1), FRAME.tail(2)], rechunk=False)
    assert digest(FRAME) == digest(in_pieces) == digest(pl.read_parquet(tmp_path / "frame.parquet"))


@pytest.mark.parametrize(
    "changed",
    [
        FRAME.reverse(),
        FRAME.rename({"id": "name"}),
        FRAME.fill_null(0.0),
        FRAME.with_columns(pl.col("amount").cast(pl.Float32)),
        FRAME.with_columns(pl.lit("a").alias("id")),
    ],
)
def test_another_value_order_name_or_type_gives_another_digest(changed):
    assert digest(changed) != digest(FRAME)
