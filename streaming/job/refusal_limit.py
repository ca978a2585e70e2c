"""FRAUD_REFUSAL_LIMIT: a partition of which nearly everything is refused is held, instead of moved to the dead letters.

That is what a bad deployment of a sender looks like. The job ends before it has written anything of the micro-batch,
which is then decided by the settings of the next start.
"""

from collections import Counter

import numpy as np
import pyarrow as pa

from fraud_core.payments.reader import ReadingRules
from fraud_io.errors import OperatorError
from streaming.job.scorer import decode, in_arrival_order

LEAST = 100  # records of a partition: the share of fewer says little


def check_refusals(records: pa.Table, rules: ReadingRules, limit: float, topic: str) -> None:
    """OperatorError when of a partition's LEAST or more ``records`` (scorer.SCHEMA) a larger share than ``limit`` is
    refused; of several such partitions it names the first.
    """
    records = in_arrival_order(records)
    refusals = decode(records, rules).refusals
    partitions, offsets = records["partition"].to_numpy(), records["offset"].to_numpy()
    refused = partitions[[refusal.index for refusal in refusals]]
    for partition in np.unique(refused).tolist():
        of_partition = offsets[partitions == partition]
        share = np.count_nonzero(refused == partition) / len(of_partition)
        if len(of_partition) < LEAST or share <= limit:
            continue
        kinds = Counter(refusal.kind for refusal in refusals if partitions[refusal.index] == partition)
        raise OperatorError(
            f"partition {partition} of {topic} is held at offset {of_partition[0]}: of the "
            f"{len(of_partition):,} records from there {share:.0%} would be refused, more than FRAUD_REFUSAL_LIMIT "
            f"({', '.join(f'{kind}: {count:,}' for kind, count in kinds.most_common())}). Correct the sender. Then "
            "start the job again: as it is, when a setting, a schema or a zone makes these records readable; without "
            "FRAUD_REFUSAL_LIMIT or with a higher one to make dead letters of them, which can be sent again"
        )
