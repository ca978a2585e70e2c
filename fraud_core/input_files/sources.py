"""Which files somebody means: one, a folder of them, a pattern or an address; and their bytes, decompressed.

Folders named as ``currency=EUR`` are columns (hive). What the bytes hold is not decided here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from fraud_core.input_files.errors import InputFileError

_WANTED = "give a CSV, JSON or Parquet file, or a folder of them"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\x04\x22\x4d\x18": "lz4"}
_NOT_READ = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV UTF-8",
    b"ORC": "an ORC file: write it as Parquet",
    b"Obj\x01": "an Avro file: write it as Parquet or JSON Lines",
}
_LOOKED_AT = 64 * 1024


@dataclass(frozen=True)
class Source:
    """One file. size : bytes, as stored. constants : columns with one value in every row, by name: its folders named
    name=value give such."""

    path: str
    size: int
    _files: fs.FileSystem = field(repr=False)
    constants: dict[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def open(self) -> pa.NativeFile:
        """As stored, to be read anywhere."""
        with self.readable():
            return self._files.open_input_file(self.path)

    def open_stream(self, stored: pa.NativeFile) -> pa.NativeFile:
        """What ``stored`` (from ``open``) decompresses to; ``stored.tell()`` says how far it is read."""
        magic = stored.read(4)
        stored.seek(0)
        found = next((name for begins, name in _COMPRESSIONS.items() if magic.startswith(begins)), None)
        return pa.CompressedInputStream(stored, found) if found else stored

    def beginning(self) -> bytes:
        """The first bytes, decompressed. InputFileError when they are of something that is not read here."""
        with self.readable(), self.open() as stored:
            found = bytes(self.open_stream(stored).read(_LOOKED_AT))
        for magic, what in _NOT_READ.items():
            if found.startswith(magic):
                raise InputFileError(f"{self} is {what}")
        return found

    def readable(self) -> "_Readable":
        return _Readable(self.path)


@dataclass(frozen=True)
class _Readable:
    """A block in which what the file system, Arrow or a decompressor says of a file becomes one sentence."""

    path: str

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException):
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise InputFileError(f"{self.path} cannot be read: {reason}") from error


def sources_of(paths: str | Path | Iterable[str | Path]) -> list[Source]:
    """The files of each path, in its order: a folder's by name, with p_2 before p_10, those of folders in it included.

    A path may have wildcards, or be an address that Arrow knows (s3://bucket/folder). Files and folders that begin with
    . or _ are left out, and so are empty files of a folder: Spark writes such. Raises InputFileError.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    return [source for path in given for source in _sources_of(str(path))]


def _sources_of(path: str) -> list[Source]:
    files, at = _file_system(path)
    with _Readable(path):
        info = files.get_file_info(at)
        if info.type == fs.FileType.NotFound:
            matches = _matches(path)
            if not matches:
                raise InputFileError(f"{path} does not exist: {_WANTED}")
            return [source for match in matches for source in _sources_of(match)]
        if info.type != fs.FileType.Directory:
            return [_source(files, at, info.size)]
        entries = files.get_file_info(fs.FileSelector(at, recursive=True))
        kept = [
            _source(files, entry.path, entry.size)
            for entry in sorted(entries, key=lambda entry: _natural(entry.path))
            if entry.type == fs.FileType.File
            and entry.size
            and not any(part.startswith((".", "_")) for part in entry.path.removeprefix(at).split("/"))
        ]
    if not kept:
        raise InputFileError(f"{path} holds no file: {_WANTED}")
    return kept


def _matches(path: str) -> list[str]:
    """Local files and folders that a path with wildcards stands for."""
    parts = Path(path).parts
    at = next((index for index, part in enumerate(parts) if re.search(r"[*?\[]", part)), None)
    if at is None:
        return []
    return sorted(map(str, Path(*parts[:at]).glob(str(Path(*parts[at:])))), key=_natural)


def _file_system(path: str) -> tuple[fs.FileSystem, str]:
    if "://" not in path:
        return fs.LocalFileSystem(), path
    try:
        files, at = fs.FileSystem.from_uri(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputFileError(f"{path} is no address that can be read: {error}") from error
    return files, at


def _source(files: fs.FileSystem, path: str, size: int) -> Source:
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    columns = {unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in pairs if name}
    return Source(path, size, files, columns)


def _natural(path: str) -> list[tuple[int, str]]:
    """Numbers in names by their value.

    >>> sorted(["p_10", "p_2"], key=_natural)
    ['p_2', 'p_10']
    """
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in re.split(r"(\d+)", path)]
