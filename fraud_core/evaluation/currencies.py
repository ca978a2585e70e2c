"""Currency by currency: what was converted into the currency of the features, and what could not be."""

import polars as pl

from fraud_core.money import minor_units, minor_units_of, to_major_units


def by_currency(rows: pl.DataFrame, currency: str) -> pl.DataFrame:
    """A row for each currency of ``rows``, most payments first.

    rows : currency, amount_minor, value_minor (in minor units of ``currency``, null without a rate).
    Returns currency, converted and not_converted (payments); converted_amount and not_converted_amount in units of the
    row's currency; and value, what the converted ones are worth, in units of ``currency``.
    """
    is_converted = pl.col("value_minor").is_not_null()
    found = (
        rows.group_by("currency")
        .agg(
            converted=is_converted.sum(),
            not_converted=(~is_converted).sum(),
            converted_amount=pl.col("amount_minor").filter(is_converted).sum(),
            not_converted_amount=pl.col("amount_minor").filter(~is_converted).sum(),
            value=pl.col("value_minor").sum(),
        )
        .sort(pl.col("converted") + pl.col("not_converted"), "currency", descending=[True, False])
    )
    own_units = minor_units_of(found["currency"])
    return found.with_columns(
        converted_amount=to_major_units(found["converted_amount"].to_numpy(), own_units),
        not_converted_amount=to_major_units(found["not_converted_amount"].to_numpy(), own_units),
        value=to_major_units(found["value"].to_numpy(), minor_units(currency)),
    )
