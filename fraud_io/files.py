"""Files and folders that are there completely or not at all.

Each writer fills a hidden name of its own beside the target and renames it, so neither a reader nor a second writer
ever meets half a file. What a crash leaves behind is called ``.<name>-<random>.new``: nobody takes that for content.

Atomic: a process that dies leaves the old content. Durable: a power cut does too, once the call has returned.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def write_atomically(file: Path, content: str | bytes | memoryview) -> None:
    """Replace ``file``, and make its folder where there is none."""
    with replacing(file) as new:
        new.write_bytes(_encoded(content))


def write_durably(file: Path, content: str | bytes | memoryview) -> None:
    """As ``write_atomically``; durable when this returns."""
    with replacing(file, durably=True) as new:
        new.write_bytes(_encoded(content))


@contextmanager
def replacing(path: Path, *, durably: bool = False) -> Iterator[Path]:
    """Gives a path to make a file or a folder at, which takes the place of ``path`` when the block ends without error.

    A file is replaced in one step; a folder that is replaced is gone for a moment.
    """
    with _filled(path, durably) as new:
        yield new
    if path.is_dir():
        shutil.rmtree(path)  # a folder cannot be replaced by a rename as a file can
    new.replace(path)
    if durably:
        _sync(path.parent)


@contextmanager
def adding_durably(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which gets the name ``folder`` when the block ends without error.

    FileExistsError when another writer was faster; its folder stays.
    """
    with _filled(folder, durably=True) as new:
        new.mkdir()
        yield new
    try:
        new.rename(folder)
    except OSError as error:
        _remove(new)
        raise FileExistsError(f"{folder} is there already") from error
    _sync(folder.parent)


@contextmanager
def _filled(path: Path, durably: bool) -> Iterator[Path]:
    """A name beside ``path`` for what the block makes; removed again when it fails."""
    if durably:
        _make_folder_durably(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}-{uuid4().hex}.new")
    try:
        yield new
        for made in (new, *new.rglob("*")) if durably else ():
            _sync(made)
    except BaseException:
        _remove(new)
        raise


def _encoded(content: str | bytes | memoryview) -> bytes | memoryview:
    return content.encode() if isinstance(content, str) else content


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _make_folder_durably(folder: Path) -> None:
    if not folder.exists():
        _make_folder_durably(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
