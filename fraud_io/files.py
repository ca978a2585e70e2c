"""Writing a small file so that it is there, whole, after a power cut: or the one before it is."""

import os
from pathlib import Path


def write_durably(file: Path, text: str) -> None:
    """Replace ``file``; durable when this returns. A file ``new`` beside it may be left by a crash."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name("new")
    with temporary.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
