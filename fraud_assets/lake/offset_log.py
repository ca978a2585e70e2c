"""What was read from a Kafka topic: one folder of Parquet files for each range of offsets, written once.

A range starts where the one before ended. Its folder is filled under a hidden name and renamed when it is complete, so
a run that dies leaves nothing that counts, and the next one reads the same offsets again. The name is where the range
starts: of two runs that read from the same position the second cannot finish, so no row is stored twice.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from fraud_io.files import adding_durably

Offsets = dict[int, int]
"""Partition to the offset of the next record."""

_RANGE = "_offsets.json"


@dataclass(frozen=True)
class TopicRange:
    """Records from ``start`` (inclusive) to ``end`` (exclusive) of each partition of a topic."""

    start: Offsets
    end: Offsets

    def __len__(self) -> int:
        return sum(self.end.values()) - sum(self.start.values())

    def __str__(self) -> str:
        return ", ".join(f"{partition}: {self.start.get(partition, 0)}..{end}" for partition, end in self.end.items())


class OffsetLog:
    """The ranges of one topic below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ranges(self) -> list[TopicRange]:
        """All complete ranges, oldest first."""
        return [_read(folder) for folder in self._complete()]

    def position(self) -> Offsets:
        """Where the next range starts; empty when nothing was read yet."""
        complete = self._complete()
        return _read(complete[-1]).end if complete else {}

    def pending(self, beginning: Offsets, end: Offsets) -> TopicRange:
        """The part not read yet of a topic that holds ``beginning`` to ``end``.

        ValueError when the topic ends before what was read: it is another topic of the same name.
        """
        position = self.position()
        for partition, offset in position.items():
            if end.get(partition, 0) < offset:
                raise ValueError(
                    f"partition {partition} ends at offset {end.get(partition, 0)}, but {self._folder} already holds "
                    f"records up to {offset}: the topic was made anew. Move that folder away to read it from the start."
                )
        return TopicRange({p: max(position.get(p, 0), beginning[p]) for p in sorted(end)}, dict(sorted(end.items())))

    @contextmanager
    def append(self, offsets: TopicRange) -> Iterator[Path]:
        """Gives an empty folder for the Parquet files of ``offsets``, which counts once the block ends without error.

        FileExistsError when another run was faster; nothing is added then.
        """
        name = f"{sum(offsets.start.values()):020}"
        try:
            # Durably: the topic may have dropped the records by the time a power cut is noticed.
            with adding_durably(self._folder / name) as staging:
                yield staging
                (staging / _RANGE).write_text(json.dumps(asdict(offsets)))
        except FileExistsError as error:
            raise FileExistsError(f"another run has read {offsets} into {self._folder / name}") from error

    def scan(self, columns: Mapping[str, type[pl.DataType]]) -> pl.LazyFrame:
        """Everything read so far, in no particular order. An optional column that a version before did not write is
        null. ValueError when it wrote amounts in another column.
        """
        files = [file for folder in self._complete() for file in sorted(folder.rglob("*.parquet"))]
        if not files:
            return pl.LazyFrame(schema=columns)
        if "amount_minor" in columns and "amount_minor" not in pl.read_parquet_schema(files[0]):
            raise ValueError(
                f"{files[0]} is of an earlier version, without amount_minor: move the folder {self._folder} away, and "
                "the next run reads the topic from its start"
            )
        found = pl.scan_parquet(
            files, schema=pl.Schema(columns), hive_partitioning=False, missing_columns="insert", extra_columns="ignore"
        )
        return found.select(list(columns))

    def _complete(self) -> list[Path]:
        return sorted(file.parent for file in self._folder.glob(f"[0-9]*/{_RANGE}"))


def _read(folder: Path) -> TopicRange:
    stored = json.loads((folder / _RANGE).read_text())
    return TopicRange(*({int(p): offset for p, offset in stored[side].items()} for side in ("start", "end")))
