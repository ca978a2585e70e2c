"""Files that are there completely or not at all."""

from pathlib import Path


def write_whole(path: Path, content: bytes | memoryview) -> Path:
    """Write a file, and its folder where there is none. Whoever looks meanwhile sees the old one or none; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_bytes(content)
    return new.replace(path)
