"""A mapping, compiled: somebody else's messages or rows in, the fields of our payments or labels out.

What a value must look like is not decided here: what comes out is read by ``reader`` as any message is. A value that a
rule can do nothing with comes out as ``Unusable``, so that the reader refuses the payment or leaves out the field.
Everything is done a column at a time: a call for each value would cost three times as much.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from reprlib import repr as quoted  # of a bounded length, however deep the value
from typing import Any
from zoneinfo import ZoneInfo

from fraud_core.money import minor_units
from fraud_core.payments.amounts import parse_amount
from fraud_core.payments.codes import currency_code
from fraud_core.payments.envelopes import Envelope
from fraud_core.payments.mapping_file import (
    AmountRule,
    FieldRule,
    FileShape,
    LabelRules,
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
Fields = dict[str, Any]
"""Of one message, by name; None where there is nothing, Unusable where a rule can do nothing with what there is."""

_Column = list[Any]
_Read = Callable[[Sequence[Record], Sequence[RowNumber]], _Column]
_FIELDS = tuple(PaymentRules.model_fields)
_NUMBERS = frozenset(("amount", "latitude", "longitude"))


@dataclass(frozen=True)
class RecordMapping:
    """``envelope`` : what is around a record in a topic; None: nothing. ``shape`` : of text files.
    ``sources`` : by field of a payment, the columns that it is read from. ``columns`` : all that payments, and labels
    in their records, are read from, with the outermost name of each path; ``columns_of_labels`` : those of label files.
    """

    envelope: Envelope | None
    shape: FileShape
    sources: Mapping[str, tuple[str, ...]]
    columns: frozenset[str]
    columns_of_labels: frozenset[str]
    _is_payment: Callable[[Record], bool]
    _is_label: Callable[[Record], bool] | None
    _is_label_of_file: Callable[[Record], bool] | None
    _payment: Mapping[str, _Read]
    _label: Mapping[str, _Read]
    _label_of_file: Mapping[str, _Read]

    @classmethod
    def of(cls, text: str) -> "RecordMapping":
        """text : a mapping file's TOML. MappingError names everything wrong with it."""
        return _compiled(text)

    @property
    def has_labels(self) -> bool:
        """Whether payments' records hold labels."""
        return self._is_label is not None

    @property
    def has_label_files(self) -> bool:
        """Whether it says how files of labels are read."""
        return self._is_label_of_file is not None

    def is_payment(self, record: Record) -> bool:
        return self._is_payment(record)

    def is_label(self, record: Record) -> bool:
        """Whether a record beside payments, or one of a payment, holds a label."""
        return self._is_label is not None and self._is_label(record)

    def is_label_of_file(self, record: Record) -> bool:
        return self._is_label_of_file is not None and self._is_label_of_file(record)

    def payments(self, records: Sequence[Record], numbers: Sequence[RowNumber]) -> list[Fields]:
        """Messages as ``reader.read_payment`` takes them. numbers : of each record among all of the input."""
        return _rows(self._payment, records, numbers)

    def labels(self, records: Sequence[Record], numbers: Sequence[RowNumber]) -> list[Fields]:
        """Label messages of records for which ``is_label`` holds. label_time is missing where none is stated."""
        return _rows(self._label, records, numbers)

    def labels_of_file(self, records: Sequence[Record], numbers: Sequence[RowNumber]) -> list[Fields]:
        """The same of a file that holds nothing but labels."""
        return _rows(self._label_of_file, records, numbers)


def _rows(readers: Mapping[str, _Read], records: Sequence[Record], numbers: Sequence[RowNumber]) -> list[Fields]:
    columns = [read(records, numbers) for read in readers.values()]
    return [dict(zip(readers, values, strict=True)) for values in zip(*columns, strict=True)]


@cache
def _compiled(text: str) -> RecordMapping:
    file = parse_mapping(text)
    missing = frozenset(spelling for one in file.missing for spelling in (one, one.lower(), one.upper(), one.title()))
    rules: dict[str, FieldRule | None] = {name: getattr(file.payment, name) for name in _FIELDS}
    if file.keep_names:
        rules |= {name: FieldRule(column=name) for name, rule in rules.items() if rule is None}
    given = {name: rule for name, rule in rules.items() if rule is not None}
    payment = {name: _reader(rule, missing, is_text=name not in _NUMBERS) for name, rule in given.items()}
    if file.payment.amount is not None and file.payment.amount.minor_units and "currency" in payment:
        payment["amount"] = _in_major_units(payment["amount"], payment["currency"])
    return RecordMapping(
        envelope=file.envelope,
        shape=file.file,
        sources={name: tuple(_columns_of(rule)) for name, rule in given.items()},
        columns=_all_columns([*given.values(), *_rules_of(file.label, rules)], [file.where, *_wheres(file.label)]),
        columns_of_labels=_all_columns(_rules_of(file.label_file, rules), _wheres(file.label_file)),
        _is_payment=_where(file.where),
        _is_label=None if file.label is None else _where(file.label.where),
        _is_label_of_file=None if file.label_file is None else _where(file.label_file.where),
        _payment=payment,
        _label=_label_readers(file.label, rules, missing),
        _label_of_file=_label_readers(file.label_file, rules, missing),
    )


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
    return {
        name: _reader(rule, missing, is_text=name != "is_fraud") for name, rule in given.items() if rule is not None
    }


def _rules_of(rules: LabelRules | None, payment: Mapping[str, FieldRule | None]) -> list[FieldRule | None]:
    if rules is None:
        return []
    return [rules.transaction_id or payment["transaction_id"], rules.is_fraud, rules.label_time, rules.source]


def _wheres(rules: LabelRules | None) -> list[Where]:
    return [] if rules is None else [rules.where]


def _all_columns(rules: Iterable[FieldRule | None], wheres: Iterable[Where]) -> frozenset[str]:
    names = {name for where in wheres for name in where}
    for rule in rules:
        if rule is not None:
            names.update(_columns_of(rule))
        if isinstance(rule, AmountRule):
            names.update(rule.refund_where)
        if isinstance(rule, TimeRule) and rule.zone_from:
            names.add(rule.zone_from)
    return frozenset(names | {name.partition(".")[0] for name in names})


def _columns_of(rule: FieldRule) -> Iterable[str]:
    for source in rule.sources():
        if isinstance(source, str):
            yield source
        else:
            yield from (name for name in (source.column, source.minus) if name)


def _reader(rule: FieldRule, missing: frozenset[str], *, is_text: bool) -> _Read:
    """What reads one field, and nothing else of it than the rule says."""
    read = _cleaned(rule, _source(rule, missing))
    if isinstance(rule, AmountRule):
        return _amount(rule, read, missing)
    if isinstance(rule, TimeRule):
        return _time(rule, read, missing)
    return _as_text(read) if is_text else read


def _source(rule: FieldRule, missing: frozenset[str]) -> _Read:
    if rule.constant is not None:
        constant = rule.constant
        return lambda records, numbers: [constant] * len(records)
    if rule.row_number:
        return lambda records, numbers: list(numbers)
    parts = [_part(source, missing) for source in rule.sources()]
    if len(parts) == 1:
        return parts[0]
    if rule.first:
        return lambda records, numbers: [
            next((value for value in values if value is not None), None)
            for values in zip(*(part(records, numbers) for part in parts), strict=True)
        ]
    return lambda records, numbers: [
        _joined(values, rule.join) for values in zip(*(part(records, numbers) for part in parts), strict=True)
    ]


def _joined(values: tuple[Any, ...], join: str) -> Any:
    unusable = next((value for value in values if isinstance(value, Unusable)), None)
    if unusable is not None or all(value is None for value in values):
        return unusable
    return join.join("" if value is None else str(value) for value in values)


def _part(source: str | Quotient, missing: frozenset[str]) -> _Read:
    if isinstance(source, str):
        return _column(source, missing)
    dividend = _column(source.column, missing)
    subtrahend = _column(source.minus, missing) if source.minus else lambda records, numbers: [0] * len(records)

    def quotient(values: tuple[Any, Any]) -> int | None:
        if None in values:
            return None
        try:
            return int(float(values[0]) // source.divide_by - float(values[1]))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{quoted(values[0])} less {quoted(values[1])} is no number") from error

    return lambda records, numbers: _each(
        quotient, zip(dividend(records, numbers), subtrahend(records, numbers), strict=True)
    )


def _column(name: str, missing: frozenset[str]) -> _Read:
    """A column by its whole name, else a path in nested objects and lists."""
    path = name.split(".")

    def column(records: Sequence[Record], numbers: Sequence[RowNumber]) -> _Column:
        found = [record.get(name) for record in records]
        if len(path) > 1:
            found = [_nested(record, path) if v is None else v for v, record in zip(found, records, strict=True)]
        return [
            (text if (text := value.strip()) not in missing else None) if value.__class__ is str else value
            for value in found
        ]

    return column


def _nested(record: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(record, Mapping):
            record = record.get(step)
        elif isinstance(record, list) and step.isdigit() and int(step) < len(record):
            record = record[int(step)]
        else:
            return None
    return record


def _each(convert: Callable[[Any], Any], values: Iterable[Any]) -> _Column:
    """``convert`` of each value, which it may do nothing with (ValueError)."""
    converted: _Column = []
    for value in values:
        try:
            converted.append(value if value is None or value.__class__ is Unusable else convert(value))
        except ValueError as error:
            converted.append(Unusable(str(error)))
    return converted


def _as_text(read: _Read) -> _Read:
    """Whole numbers as text: a bank numbers its customers."""
    return lambda records, numbers: [
        str(value) if value.__class__ is int else value for value in read(records, numbers)
    ]


def _cleaned(rule: FieldRule, read: _Read) -> _Read:
    """The value without what is around it, and what its text means."""
    strip, remove, prefix, suffix, otherwise = rule.strip, rule.remove_prefix, rule.prefix, rule.suffix, rule.otherwise
    meanings = {text.strip().lower(): meaning for text, meaning in rule.values.items()}
    if not (strip or remove or prefix or suffix or meanings or otherwise is not None):
        return read

    def cleaned(value: Any) -> Any:
        if isinstance(value, str):
            value = value.strip(strip).strip() if strip else value
            value = value.removeprefix(remove)
        if meanings or otherwise is not None:
            value = meanings.get(str(value).lower(), value if otherwise is None else otherwise)
        return f"{prefix}{value}{suffix}" if prefix or suffix else value

    return lambda records, numbers: _each(cleaned, read(records, numbers))


def _amount(rule: AmountRule, read: _Read, missing: frozenset[str]) -> _Read:
    decimal, sign, is_refund = rule.decimal, rule.sign, _where(rule.refund_where)

    def parsed(value: Any) -> float:
        amount = parse_amount(value, decimal)
        return abs(amount) if sign == "absolute" else -amount if sign == "reverse" and amount else amount

    def amounts(records: Sequence[Record], numbers: Sequence[RowNumber]) -> _Column:
        column = _each(parsed, read(records, numbers))
        if not rule.refund_where:
            return column
        return [
            (-abs(value) if is_refund(record) else abs(value)) if isinstance(value, float) else value
            for value, record in zip(column, records, strict=True)
        ]

    return amounts if rule.debit is None and rule.credit is None else _debit_less_credit(rule, missing)


def _debit_less_credit(rule: AmountRule, missing: frozenset[str]) -> _Read:
    nothing: _Read = lambda records, numbers: [None] * len(records)  # noqa: E731
    columns = [nothing if name is None else _column(name, missing) for name in (rule.debit, rule.credit)]

    def difference(values: tuple[Any, Any]) -> float | None:
        if values == (None, None):
            return None
        # Statements write a credit with or without its sign.
        debit, credit = (0.0 if value is None else abs(parse_amount(value, rule.decimal)) for value in values)
        return debit - credit

    return lambda records, numbers: _each(
        difference, zip(*(column(records, numbers) for column in columns), strict=True)
    )


def _in_major_units(amount: _Read, currency: _Read) -> _Read:
    return lambda records, numbers: [
        minor / _units(code) if isinstance(minor, float) else minor
        for minor, code in zip(amount(records, numbers), currency(records, numbers), strict=True)
    ]


def _units(currency: object) -> int:
    """``minor_units`` of a currency as the record writes it; what is none is for the reader to refuse."""
    return minor_units((currency_code(currency) if isinstance(currency, str | int) else None) or "")


def _time(rule: TimeRule, read: _Read, missing: frozenset[str]) -> _Read:
    """RFC 3339 where the rule says how to read a time; else the value as it is."""
    formats = [rule.format] if isinstance(rule.format, str) else rule.format or []
    zones = {text.lower(): ZoneInfo(name) for text, name in rule.zones.items()}
    stated = ZoneInfo(rule.zone) if rule.zone else None

    def moment(value: Any, zone: ZoneInfo | None) -> str:
        return format_rfc3339_ms(parse_time_ms(_by_format(value, formats) if formats else value, zone))

    if rule.start is not None:
        start_ms, step_ms = parse_time_ms(rule.start), rule.step_s * SECOND_MS
        return lambda records, numbers: _each(
            lambda value: format_rfc3339_ms(start_ms + int(_count(value) * step_ms)), read(records, numbers)
        )
    if rule.zone_from is not None:
        zone_names = _column(rule.zone_from, missing)
        return lambda records, numbers: _each(
            lambda both: None if both[0] is None else moment(both[0], _zone(both[1], zones)),
            zip(read(records, numbers), zone_names(records, numbers), strict=True),
        )
    if formats or stated is not None:
        return lambda records, numbers: _each(lambda value: moment(value, stated), read(records, numbers))
    return read


def _count(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{quoted(value)} counts no steps") from error


def _by_format(value: object, formats: Sequence[str]) -> str:
    for pattern in formats:
        try:
            return datetime.strptime(str(value), pattern).isoformat()
        except ValueError:
            continue
    raise ValueError(f"{quoted(value)} is not written as {' or '.join(formats)}")


def _zone(name: object, zones: Mapping[str, ZoneInfo]) -> ZoneInfo:
    known = zones.get(str(name).lower())
    try:
        return known or ZoneInfo(str(name))
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError; a folder's name an OSError
        raise ValueError(f"{quoted(name)} is no time zone: say which one it means (zones)") from error


def _where(where: Where) -> Callable[[Record], bool]:
    """Whether a record's columns hold one of the texts that they may hold."""
    allowed = [(name, name.split("."), {text.strip().lower() for text in texts}) for name, texts in where.items()]

    def holds(record: Record) -> bool:
        for name, path, texts in allowed:
            found = record.get(name)
            if str(_nested(record, path) if found is None else found).strip().lower() not in texts:
                return False
        return True

    return holds
