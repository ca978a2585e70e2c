"""Writes a small file so that it is there as a whole, also after a power cut, or not at all."""

import os
from pathlib import Path


def write_durably(file: Path, text: str) -> None:
    """Durable when this returns; makes the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.parent / "new"
    with temporary.open("w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
