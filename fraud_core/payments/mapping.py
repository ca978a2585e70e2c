"""A mapping, compiled: somebody else's message or row in, the fields of our payment or label out.

What a value must look like is not decided here: what comes out is read by ``reader`` as any message is. A value that a
rule can do nothing with comes out as ``Unusable``, so that the reader refuses the payment or leaves out the field.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from reprlib import repr as quoted  # of a bounded length, however deep the value
from typing import Any
from zoneinfo import ZoneInfo

from iso4217 import Currency

from fraud_core.payments.amounts import parse_amount
from fraud_core.payments.codes import currency_code
from fraud_core.payments.envelopes import Envelope
from fraud_core.payments.mapping_file import (
    AmountRule,
    FieldRule,
    LabelRules,
    MappingFile,
    PaymentRules,
    Quotient,
    TimeRule,
    Where,
    parse_mapping,
)
from fraud_core.payments.times import parse_time_ms
from fraud_core.payments.unusable import Unusable
from fraud_core.timestamps import SECOND_MS, format_rfc3339_ms

Record = Mapping[str, Any]
RowNumber = int | str
_Read = Callable[[Record, RowNumber], Any]
_FIELDS = tuple(PaymentRules.model_fields)


@dataclass(frozen=True)
class RecordMapping:
    """``envelope`` : what is around a record in a topic; None: nothing. ``columns`` : those that some rule reads.
    ``sources`` : by field of a payment, the columns it is read from, as one text.
    """

    envelope: Envelope | None
    columns: frozenset[str]
    sources: Mapping[str, str]
    _file: MappingFile
    _payment: dict[str, _Read]
    _label: dict[str, _Read]
    _label_file: dict[str, _Read]

    @classmethod
    def of(cls, text: str) -> "RecordMapping":
        """text : a mapping file's TOML. MappingError names everything wrong with it."""
        return _compiled(text)

    @property
    def has_labels(self) -> bool:
        """Whether payments hold their labels."""
        return bool(self._label)

    def is_payment(self, record: Record) -> bool:
        return _is_where(self._file.where, record)

    def is_label(self, record: Record) -> bool:
        """Whether a payments' record holds a label, or is one."""
        return self._file.label is not None and _is_where(self._file.label.where, record)

    def payment(self, record: Record, number: RowNumber) -> dict[str, Any]:
        """Fields of a message as ``reader.read_payment`` takes them. number : of the record among all of the input."""
        return {name: read(record, number) for name, read in self._payment.items()}

    def label(self, record: Record, number: RowNumber) -> dict[str, Any]:
        """Fields of a label message, of a record that holds payment and label; label_time None: it states none."""
        return {name: read(record, number) for name, read in self._label.items()}

    def label_of_file(self, record: Record, number: RowNumber) -> dict[str, Any]:
        """The same of a record of a file of labels."""
        return {name: read(record, number) for name, read in self._label_file.items()}


@cache
def _compiled(text: str) -> RecordMapping:
    file = parse_mapping(text)
    missing = frozenset(text.strip().lower() for text in file.missing)
    rules = {name: getattr(file.payment, name) for name in _FIELDS}
    columns: set[str] = set(file.where)
    payment: dict[str, _Read] = {}
    for name, rule in rules.items():
        if rule is None and file.keep_names:
            rule = FieldRule(column=name)
        if rule is not None:
            columns |= _columns(rule)
            payment[name] = _reader(rule, missing)
    amount = file.payment.amount
    if amount is not None and amount.minor_units and "currency" in payment:
        payment["amount"] = _in_major_units(payment["amount"], payment["currency"])
    label, label_file = (_label_readers(of, rules, missing) for of in (file.label, file.label_file))
    if file.label is not None:
        given = (file.label.transaction_id, file.label.is_fraud, file.label.label_time, file.label.source)
        columns |= set(file.label.where).union(*(_columns(rule) for rule in given if rule is not None))
    sources = {name: " and ".join(sorted(_columns(rule))) for name, rule in rules.items() if rule is not None}
    return RecordMapping(file.envelope, frozenset(columns), sources, file, payment, label, label_file)


def _label_readers(
    rules: LabelRules | None, payment: Mapping[str, FieldRule | None], missing: frozenset[str]
) -> dict[str, _Read]:
    if rules is None:
        return {}
    given = {
        "transaction_id": rules.transaction_id or payment["transaction_id"],
        "is_fraud": rules.is_fraud,
        "label_time": rules.label_time,
        "source": rules.source,
    }
    return {name: _reader(rule, missing) for name, rule in given.items() if rule is not None}


def _columns(rule: FieldRule) -> set[str]:
    """The columns, of nested ones the outermost, that a rule reads."""
    found: set[str] = set()
    for source in rule.sources():
        found |= {source} if isinstance(source, str) else {source.column, *([source.minus] if source.minus else [])}
    if isinstance(rule, TimeRule) and rule.zone_from:
        found.add(rule.zone_from)
    if isinstance(rule, AmountRule):
        found |= set(rule.refund_where)
    return found


def _reader(rule: FieldRule, missing: frozenset[str]) -> _Read:
    """What reads one field; it returns None for nothing, and Unusable for what it can do nothing with."""
    read = _cleaned(rule, _source(rule, missing))
    if isinstance(rule, AmountRule):
        read = _amount(rule, read, missing)
    if isinstance(rule, TimeRule):
        read = _time(rule, read, missing)

    def checked(record: Record, number: RowNumber) -> Any:
        try:
            return read(record, number)
        except ValueError as error:
            return Unusable(str(error))

    return checked


def _source(rule: FieldRule, missing: frozenset[str]) -> _Read:
    if rule.constant is not None:
        constant = rule.constant
        return lambda record, number: constant
    if rule.row_number:
        return lambda record, number: number
    parts = [_part(source, missing) for source in rule.sources()]
    if len(parts) == 1:
        (only,) = parts
        return lambda record, number: only(record)
    if rule.first:
        return lambda record, number: next((value for part in parts if (value := part(record)) is not None), None)
    join = rule.join

    def joined(record: Record, number: RowNumber) -> str | None:
        values = [part(record) for part in parts]
        if all(value is None for value in values):
            return None
        return join.join("" if value is None else str(value) for value in values)

    return joined


def _part(source: str | Quotient, missing: frozenset[str]) -> Callable[[Record], Any]:
    if isinstance(source, str):
        return _column(source, missing)
    dividend, divide_by = _column(source.column, missing), source.divide_by
    subtrahend = _column(source.minus, missing) if source.minus else lambda record: 0

    def quotient(record: Record) -> int | None:
        values = dividend(record), subtrahend(record)
        if None in values:
            return None
        try:
            return int(float(values[0]) // divide_by - float(values[1]))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{quoted(values[0])} less {quoted(values[1])} is no number") from error

    return quotient


def _column(name: str, missing: frozenset[str]) -> Callable[[Record], Any]:
    """A column by its whole name, else a path in nested objects and lists; None where nothing is."""
    path = name.split(".")

    def value(record: Record) -> Any:
        found = record.get(name)
        if found is None and len(path) > 1:
            found = _nested(record, path)
        if isinstance(found, str):
            found = found.strip()
            return None if found.lower() in missing else found
        return found

    return value


def _nested(record: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(record, Mapping):
            record = record.get(step)
        elif isinstance(record, list) and step.isdigit() and int(step) < len(record):
            record = record[int(step)]
        else:
            return None
    return record


def _cleaned(rule: FieldRule, source: _Read) -> _Read:
    """The value without what is around it, and what its text means."""
    strip, remove, prefix = rule.strip, rule.remove_prefix, rule.prefix
    values = {text.strip().lower(): meaning for text, meaning in rule.values.items()}
    otherwise = rule.otherwise
    if not (strip or remove or prefix or values):
        return source

    def cleaned(record: Record, number: RowNumber) -> Any:
        value = source(record, number)
        if value is None:
            return None
        if isinstance(value, str):
            value = value.strip(strip).strip() if strip else value
            value = value.removeprefix(remove)
        if values:
            value = values.get(str(value).lower(), value if otherwise is None else otherwise)
        return f"{prefix}{value}" if prefix else value

    return cleaned


def _amount(rule: AmountRule, read: _Read, missing: frozenset[str]) -> _Read:
    if rule.debit is not None or rule.credit is not None:
        read = _debit_less_credit(rule, missing)
    decimal, sign, refund_where = rule.decimal, rule.sign, rule.refund_where

    def amount(record: Record, number: RowNumber) -> float | None:
        value = read(record, number)
        if value is None:
            return None
        parsed = parse_amount(value, decimal)
        if refund_where:
            return -abs(parsed) if _is_where(refund_where, record) else abs(parsed)
        return abs(parsed) if sign == "absolute" else -parsed if sign == "reverse" and parsed else parsed

    return amount


def _debit_less_credit(rule: AmountRule, missing: frozenset[str]) -> _Read:
    columns = [None if name is None else _column(name, missing) for name in (rule.debit, rule.credit)]
    decimal = rule.decimal

    def difference(record: Record, number: RowNumber) -> float | None:
        debit, credit = (None if column is None else column(record) for column in columns)
        if debit is None and credit is None:
            return None
        # Statements write a credit with or without its sign.
        paid, received = (0.0 if one is None else abs(parse_amount(one, decimal)) for one in (debit, credit))
        return paid - received

    return difference


def _in_major_units(amount: _Read, currency: _Read) -> _Read:
    def converted(record: Record, number: RowNumber) -> Any:
        minor, code = amount(record, number), currency(record, number)
        return minor if minor is None or isinstance(minor, Unusable) else minor / 10 ** _exponent(code)

    return converted


@cache
def _exponent(currency: object) -> int:
    """ISO 4217's decimals of a currency; 2 for one that ISO does not list or that has none."""
    code = currency_code(currency) if isinstance(currency, str | int) else None
    try:
        return Currency(code).exponent or 0
    except ValueError:
        return 2


def _time(rule: TimeRule, read: _Read, missing: frozenset[str]) -> _Read:
    formats = [rule.format] if isinstance(rule.format, str) else rule.format or []
    zone = ZoneInfo(rule.zone) if rule.zone else None
    zone_of = _column(rule.zone_from, missing) if rule.zone_from else None
    zones = {text.lower(): name for text, name in rule.zones.items()}
    start_ms, step_ms = None if rule.start is None else parse_time_ms(rule.start), rule.step_s * SECOND_MS
    if not formats and zone is None and zone_of is None and start_ms is None:
        return read

    def time(record: Record, number: RowNumber) -> str | None:
        value = read(record, number)
        if value is None:
            return None
        if start_ms is not None:
            return format_rfc3339_ms(start_ms + int(_count(value) * step_ms))
        if formats:
            value = _by_format(value, formats)
        stated = zone if zone_of is None else _zone(zone_of(record), zones)
        return format_rfc3339_ms(parse_time_ms(value, stated))

    return time


def _count(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{quoted(value)} counts no steps") from error


def _by_format(value: object, formats: list[str]) -> str:
    for pattern in formats:
        try:
            return datetime.strptime(str(value), pattern).isoformat()
        except ValueError:
            continue
    raise ValueError(f"{quoted(value)} is not written as {' or '.join(formats)}")


def _zone(name: object, zones: Mapping[str, str]) -> tzinfo:
    if name is None:
        raise ValueError("the column of its zone is empty")
    try:
        return ZoneInfo(zones.get(str(name).lower(), str(name)))
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError; a folder's name an OSError
        raise ValueError(f"{quoted(name)} is no time zone: say which one it means in zones") from error


def _is_where(where: Where, record: Record) -> bool:
    return all(
        str(_nested_or_whole(record, name)).strip().lower() in {text.lower() for text in texts}
        for name, texts in where.items()
    )


def _nested_or_whole(record: Record, name: str) -> Any:
    found = record.get(name)
    return found if found is not None else _nested(record, name.split("."))
