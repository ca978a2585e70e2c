"""Atomic writes of files."""

from pathlib import Path


def write_whole(path: Path, content: bytes | memoryview) -> Path:
    """Write a file atomically, and its folder where there is none: readers see the old file or none until then. Returns
    its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_bytes(content)
    return new.replace(path)
