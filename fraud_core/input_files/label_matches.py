"""Which labels name a payment of the files; and what would make the others name one."""

from dataclasses import dataclass

import duckdb

# What files do to ids: a spreadsheet drops zeros in front, pandas adds .0, fixed columns add spaces. Each spelling,
# with what is done to both sides; the first that helps is said.
_SPELLINGS = {
    "without spaces around the id": "trim({})",
    "without the .0 behind it, which pandas writes": "regexp_replace({}, '\\.0$', '')",
    "without the zeros in front of it, which a spreadsheet drops": "ltrim({}, '0')",
    "in one case": "lower({})",
    "with all of that": "lower(ltrim(regexp_replace(trim({}), '\\.0$', ''), '0'))",
}


@dataclass(frozen=True)
class LabelMatches:
    """Ids of the labels that are, and are not, of a payment. cure : how more would be; empty where nothing helps."""

    matched: int
    unmatched: int
    cure: str

    def line(self) -> str:
        line = f"{self.matched:,} labelled ids are of these payments, {self.unmatched:,} are not"
        return f"{line}: {self.cure}" if self.cure else line


def match_labels(connection: duckdb.DuckDBPyConnection, labels: str, payments: str) -> LabelMatches:
    """Of two tables or views of ``connection`` with a column transaction_id."""
    ids = f"SELECT DISTINCT transaction_id AS id FROM {labels}"
    found = f"{ids} SEMI JOIN {payments} USING (transaction_id)"
    missing = f"{ids} ANTI JOIN {payments} USING (transaction_id)"
    matched, unmatched = (_one(connection, f"SELECT count(*) FROM ({query})") for query in (found, missing))
    return LabelMatches(matched, unmatched, _cure(connection, missing, payments) if unmatched else "")


def _cure(connection: duckdb.DuckDBPyConnection, missing: str, payments: str) -> str:
    for words, spelling in _SPELLINGS.items():
        of_label, of_payment = spelling.format("label.id"), spelling.format("payment.transaction_id")
        rows = connection.execute(
            f"SELECT any_value(label.id), any_value(payment.transaction_id), count(DISTINCT label.id) "
            f"FROM ({missing}) AS label JOIN {payments} AS payment ON {of_label} = {of_payment}"
        ).fetchall()
        label, payment, count = rows[0]
        if count:
            return f"{count:,} of them would be {words} (label {label!r}, payment {payment!r})"
    return ""


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
