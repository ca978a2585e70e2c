"""Which preset fits the columns of a file, and what a mapping for other columns might look like."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from fraud_core.input_files.messages import REQUIRED_TRANSACTION_COLUMNS
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.mapping_file import MappingError, mapping_text, preset_names

# What people call a field of ours, in lower case without separators.
_NAMES = {
    "transaction_id": ("id", "transactionid", "txnid", "reference", "paymentid", "transnum", "uuid"),
    "user_id": ("card", "cardid", "ccnum", "pan", "account", "accountid", "customer", "customerid", "client", "user"),
    "merchant_id": ("merchant", "merchantname", "terminal", "shop", "store", "payee", "description", "vendor", "mid"),
    "amount": ("amt", "value", "total", "transactionamount", "sum", "price", "paid"),
    "currency": ("ccy", "cur", "currencycode", "iso"),
    "timestamp": ("date", "time", "datetime", "created", "createdat", "transactiondate", "ts", "when", "step"),
}
_CLOSE = 0.75


def preset_of(columns: Sequence[str]) -> str | None:
    """The preset that reads most of the columns, of those whose required fields are all there; None: none fits.

    >>> preset_of(["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"])
    'handbook'
    """
    given = set(columns)
    fitting = {}
    for name in preset_names():
        try:
            mapping = RecordMapping.of(mapping_text(name))
        except MappingError:
            continue
        wanted = [mapping.sources.get(field) for field in REQUIRED_TRANSACTION_COLUMNS]
        if mapping.envelope is None and all(one is not None and (not one or set(one) & given) for one in wanted):
            fitting[name] = len(mapping.columns & given)
    return max(fitting, key=lambda name: fitting[name]) if fitting else None


def does_not_fit(columns: Sequence[str]) -> str | None:
    """Why data that is known to hold no cards cannot be used; None for any other."""
    if {"V1", "V28", "Class"} <= set(columns):
        try:
            RecordMapping.of(mapping_text("ulb"))
        except MappingError as error:
            return str(error)
    return None


def draft_of(columns: Sequence[str]) -> str:
    """A mapping file to begin with: for each required field the column whose name is nearest, or what to write."""
    lines = ['description = "what these payments are"', "keep_names = true", "", "[payment]"]
    for field in REQUIRED_TRANSACTION_COLUMNS:
        nearest = nearest_column(field, columns)
        if field in columns:
            continue
        if nearest is not None:
            lines.append(f'{field} = {{ from = "{nearest}" }}')
        elif field == "currency":
            lines.append('currency = { constant = "EUR" }  # no column looks like one')
        elif field == "transaction_id":
            lines.append("transaction_id = { row_number = true }  # no column looks like one")
        else:
            lines.append(f'# {field} = {{ from = "..." }}  # no column looks like one: {", ".join(columns)}')
    return "\n".join(lines) + "\n"


def nearest_column(field: str, columns: Sequence[str]) -> str | None:
    """The column whose name means the field, or is nearly its name; None where no name is near."""
    names = {_plain(field), *_NAMES.get(field, ())}
    by_likeness = {
        column: max(SequenceMatcher(None, _plain(column), name).ratio() for name in names) for column in columns
    }
    nearest = max(by_likeness, key=lambda column: by_likeness[column], default=None)
    return nearest if nearest is not None and by_likeness[nearest] >= _CLOSE else None


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
