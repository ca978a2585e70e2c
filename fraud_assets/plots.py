"""How Dagster is shown a figure or a table; what is drawn in a figure is fraud_core.plots."""

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def as_markdown(figure: "Figure") -> dg.MarkdownMetadataValue:
    """The figure inside the text, so that Dagster's UI shows it without a file server."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=70)
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})")


def as_table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    # Dagster works the columns out from the rows, of which there may be none.
    schema = dg.TableSchema([dg.TableColumn(name) for name in frame.columns])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in frame.iter_rows(named=True)], schema)
