"""What a micro-batch is decided with (models, merchant risk tables, settings), written down before it is scored.

A micro-batch that is replayed after a crash must decide the same, also when another model was promoted in between. So
a plan is made durable before the first micro-batch it governs, and holds for all later ones until a plan with a higher
batch id replaces it: an unchanged plan costs no write.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fraud_core.features.exchange_rates import BASE
from fraud_core.payments.envelopes import OpenMessage
from fraud_core.payments.reader import ReadingRules
from fraud_io.errors import OperatorError
from fraud_io.files import write_durably

PLANS = "plans"
"""The plans' folder in a checkpoint."""

_HELD = "held"
_KEPT = 10


@dataclass(frozen=True)
class BatchPlan:
    """Model versions (None: no such model), whether the registry had confirmed the champion, the file names of the
    merchant risk tables, the settings that determine what is refused, which model decides a card and what is
    reviewed, the schemas that are known of which registry (another one a message names is an unknown one), the schema
    in which predictions are written (None: JSON), and the name of the newest exchange rate table (which stands for all
    before it) with the currency that amounts are converted into.
    """

    champion: str | None = None
    challenger: str | None = None
    is_confirmed: bool = False
    merchant_risk_tables: tuple[str, ...] = ()
    future_tolerance_ms: int = 0
    ab_share: float = 0.0
    review_share: float = 0.0
    time_zone: str | None = None
    schema_registry: str | None = None
    schemas: tuple[int, ...] = ()
    mapping: str | None = field(default=None, repr=False)
    prediction_schema: int | None = None
    exchange_rates: str | None = None
    currency: str = BASE

    def rules(self, open_message: OpenMessage) -> ReadingRules:
        """open_message : of the plan's registry and schemas."""
        return ReadingRules(self.future_tolerance_ms, self.time_zone, open_message, self.mapping)


class PlanLog:
    """The plans in ``folder``, one file ``<first batch id>.json`` each; the last few are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def last(self) -> BatchPlan | None:
        """The plan of the newest micro-batch that was ever begun. Raises OperatorError when its file is corrupt."""
        ids = self._ids()
        if not ids:
            return None
        file = self._file(ids[-1])
        try:
            plan = json.loads(file.read_text())
            lists = {name: tuple(plan[name]) for name in ("merchant_risk_tables", "schemas")}
            return BatchPlan(**{**plan, **lists})
        except (ValueError, KeyError, TypeError) as error:
            raise OperatorError(
                f"the file {file} is corrupt, and it names what decided the last micro-batch: see "
                "docs/reliability.md on a broken plan"
            ) from error

    def write(self, batch_id: int, plan: BatchPlan) -> None:
        """Let ``plan`` govern micro-batch ``batch_id`` and the following; durable when this returns."""
        write_durably(self._file(batch_id), json.dumps(asdict(plan)))
        for old in self._ids()[:-_KEPT]:
            self._file(old).unlink()

    def hold(self, batch_id: int) -> None:
        """Remember that nothing of this micro-batch was written: it may be planned anew."""
        write_durably(self._folder / _HELD, str(batch_id))

    def is_held(self, batch_id: int) -> bool:
        file = self._folder / _HELD
        return file.exists() and file.read_text() == str(batch_id)

    def release(self, batch_id: int) -> None:
        """Call it before anything of a micro-batch that was held is written; durable when this returns."""
        if self.is_held(batch_id):
            write_durably(self._folder / _HELD, "")

    def _ids(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.json"))

    def _file(self, batch_id: int) -> Path:
        return self._folder / f"{batch_id}.json"
