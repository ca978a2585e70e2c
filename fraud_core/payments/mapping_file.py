"""What a mapping file says, as it stands there: sections and keys, checked, all that is wrong with them at once."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fraud_core.payments.amounts import DecimalSign
from fraud_core.payments.envelopes import Envelope
from fraud_core.payments.times import known_zone, parse_time_ms

PRESETS = Path(__file__).parent / "presets"


class MappingError(ValueError):
    """A mapping that cannot be used; the message names everything wrong with it."""


def _moment(text: str) -> str:
    parse_time_ms(text)
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Quotient(_Section):
    """A whole number from two columns: ``column`` divided by ``divide_by`` and rounded down, less ``minus``."""

    column: str
    divide_by: int = Field(1, gt=0)
    minus: str | None = None


Column = Annotated[str, BeforeValidator(lambda name: str(name) if isinstance(name, int) else name)]
"""A column's name (its number, from 1, in a file without a header) or a path in nested JSON: ``data.object.id``."""

Where = dict[Column, list[str]]
"""The texts that each of these columns may hold, in any case."""


class FieldRule(_Section):
    """Where the value of one field comes from, and what is done with it: in the order of these keys."""

    column: Column | list[Column | Quotient] | None = Field(None, alias="from")
    join: str = " "
    first: bool = Field(False, description="of several columns the first that holds something, not all of them")
    constant: str | float | bool | None = None
    row_number: bool = Field(False, description="number of the row; of a record in a topic its partition and offset")
    strip: str = Field("", description="characters to take off both ends, beside blanks")
    remove_prefix: str = ""
    prefix: str = ""
    suffix: str = ""
    values: dict[str, str | bool | float] = Field({}, description="what each text means; others stay as they are")
    otherwise: str | bool | float | None = Field(None, description="what texts mean that are not among the values")

    @model_validator(mode="after")
    def _has_one_source(self) -> "FieldRule":
        if sum((bool(self.sources()), self.constant is not None, self.row_number)) != 1:
            raise ValueError("give one of from, constant and row_number")
        return self

    def sources(self) -> list[str | Quotient]:
        if self.column is None:
            return []
        return [*self.column] if isinstance(self.column, list) else [self.column]


class AmountRule(FieldRule):
    """``debit``, ``credit``: two columns in the place of ``from``; credits are negative, as refunds are."""

    debit: Column | None = None
    credit: Column | None = None
    decimal: DecimalSign = "."
    minor_units: bool = Field(False, description="cents, not euros; how many make one follows from the currency")
    sign: Literal["keep", "reverse", "absolute"] = "keep"
    refund_where: Where = Field({}, description="rows whose amount is negative, whatever its sign")

    def sources(self) -> list[str | Quotient]:
        return [*super().sources(), *(column for column in (self.debit, self.credit) if column is not None)]


class TimeRule(FieldRule):
    """A spelling that the contract knows needs no key but ``from``."""

    format: str | list[str] | None = Field(None, description="as in strptime: %d/%m/%Y %H:%M")
    zone: Annotated[str, AfterValidator(known_zone)] | None = None
    zone_from: Column | None = None
    zones: dict[str, Annotated[str, AfterValidator(known_zone)]] = Field({}, description="what zone_from's texts mean")
    start: Annotated[str, AfterValidator(_moment)] | None = Field(None, description="time of a column that counts")
    step_s: float = Field(1.0, gt=0, description="with start: how many seconds a step is")


class PaymentRules(_Section):
    """A rule for each field of a payment; those without one are missing, or taken by their name (``keep_names``)."""

    transaction_id: FieldRule | None = None
    user_id: FieldRule | None = None
    merchant_id: FieldRule | None = None
    amount: AmountRule | None = None
    currency: FieldRule | None = None
    timestamp: TimeRule | None = None
    merchant_category: FieldRule | None = None
    channel: FieldRule | None = None
    country: FieldRule | None = None
    latitude: FieldRule | None = None
    longitude: FieldRule | None = None
    device_id: FieldRule | None = None
    type: FieldRule | None = None
    outcome: FieldRule | None = None
    decline_reason: FieldRule | None = None
    entry_mode: FieldRule | None = None
    ip_address: FieldRule | None = None
    email: FieldRule | None = None


class LabelRules(_Section):
    """``where``: rows that are labels. transaction_id: when it is not the payment's. label_time: default as without."""

    where: Where = {}
    transaction_id: FieldRule | None = None
    is_fraud: FieldRule
    label_time: TimeRule | None = None
    source: FieldRule | None = None


class FileShape(_Section):
    """How text files are written, where that cannot be told from them. Without a header a column's name is its number,
    from 1."""

    header: bool = True
    skip_lines: int = Field(0, ge=0, description="lines before the header")


PLAIN = FileShape()


class MappingFile(_Section):
    """A mapping file. ``where``: rows that are payments; the others are counted as left out, not refused."""

    description: str
    does_not_fit: str | None = Field(None, description="of data that holds no cards or no time: why")
    envelope: Envelope | None = None
    keep_names: bool = Field(False, description="a field without a rule is the column of its name")
    missing: list[str] = Field(["", "NA", "N/A", "NULL", r"\N", "NaN", "--"], description="texts that mean: nothing")
    file: FileShape = PLAIN
    where: Where = {}
    payment: PaymentRules = PaymentRules()
    label: LabelRules | None = Field(None, description="labels in the same record as the payment")
    label_file: LabelRules | None = Field(None, description="labels in files of their own")


def preset_names() -> list[str]:
    return sorted(file.stem for file in PRESETS.glob("*.toml"))


def mapping_text(name: str) -> str:
    """The TOML of a mapping file, or of the preset of that name. MappingError when there is neither."""
    file = PRESETS / f"{name}.toml" if name in preset_names() else Path(name)
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise MappingError(
            f"there is no mapping {name} ({reason}): give a file, or one of the presets {', '.join(preset_names())}"
        ) from error


@cache
def parse_mapping(text: str) -> MappingFile:
    """The mapping that a TOML text holds. MappingError."""
    try:
        found = MappingFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"not TOML: {error}") from error
    except ValidationError as error:
        wrong = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        ]
        raise MappingError("; ".join(wrong)) from error
    if found.does_not_fit:
        raise MappingError(found.does_not_fit)
    return found
