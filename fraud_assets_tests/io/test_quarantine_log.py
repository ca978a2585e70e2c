"""What is in quarantine is what the log's lines say."""

import pytest

from fraud_core.labels.quarantine import Batch
from fraud_io.quarantine_log import QuarantineLog

FLOOD = Batch("customer", "2026-03-01", "3,000 labels say fraud", 3_000, {0: (5, 900), 1: (7, 800)})


def test_the_log_holds_a_batch_until_a_person_releases_it_and_never_holds_it_again(tmp_path):
    log = QuarantineLog(tmp_path)
    assert (log.held(), log.blocks_promotion(), len(log)) == ([], None, 0)
    assert log.hold([FLOOD], "run 1") == [FLOOD]
    assert log.hold([FLOOD], "run 2") == []
    assert log.held() == [FLOOD]
    assert log.blocks_promotion() == (
        "labels are in quarantine, look at ./run labels and release or correct them: "
        "customer/2026-03-01 (3,000 labels say fraud)"
    )
    assert log.release("customer", "the bank confirmed them", "ann") == [FLOOD]
    assert (log.held(), log.blocks_promotion(), log.released()) == ([], None, {FLOOD.name})
    assert log.hold([FLOOD], "run 3") == []
    # Who looks back sees what a run of then could not see.
    assert (len(log), log.held(0), log.held(1), log.held(2)) == (2, [], [FLOOD], [])


def test_a_batch_that_grows_is_held_as_a_whole(tmp_path):
    log, grown = QuarantineLog(tmp_path), Batch("customer", "2026-03-01", "more", 3_100, {0: (5, 990), 1: (7, 800)})
    log.hold([FLOOD], "run 1")
    assert log.hold([grown], "run 2") == [grown]
    assert log.held() == [grown]


def test_a_name_that_is_not_held_cannot_be_released(tmp_path):
    log = QuarantineLog(tmp_path)
    log.hold([FLOOD], "run 1")
    with pytest.raises(LookupError, match="no batch or source called analyst is in quarantine; there are: customer/20"):
        log.release("analyst", "why not", "ann")
    assert len(log) == 1


LINES_OF_BEFORE = """\
{"at": "2026-03-01T00:00:00.000Z", "who": "run 1", "action": "hold", "source": "customer", "day": "2026-03-01", \
"reason": "3,000 labels say fraud", "labels": 3000, "positions": {"0": [5, 900], "1": [7, 800]}, \
"batch": "customer/2026-03-01"}
"""


def test_a_log_that_an_earlier_version_wrote_is_read_and_appended_to(tmp_path):
    (tmp_path / "label_quarantine.jsonl").write_text(LINES_OF_BEFORE)
    log = QuarantineLog(tmp_path)
    assert log.held() == [FLOOD]
    log.release("customer/2026-03-01", "the bank confirmed them", "ann")
    assert log.path.read_text().startswith(LINES_OF_BEFORE)
    assert (log.held(), len(log)) == ([], 2)
