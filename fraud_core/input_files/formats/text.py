"""A text file as blocks of whole lines in UTF-8, in whichever encoding it was saved."""

import codecs
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.sources import Source

BLOCK_BYTES = 4 * 1024 * 1024
LONGEST_LINE = 1024 * 1024  # bytes; Kafka takes no longer message either
TOO_LONG = f"longer than {LONGEST_LINE} bytes"

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Block(NamedTuple):
    """first : number of its first line, from 1. lines : whole ones, each with its line break; None: one line that is
    longer than LONGEST_LINE. recoded : lines that are no UTF-8 and were read as windows-1252; one that is neither stays
    as it is, and then they are not is_utf8. done : bytes of the file, as stored, that are read."""

    first: int
    lines: bytes | None
    recoded: int
    is_utf8: bool
    done: int


def text_blocks(source: Source) -> Iterator[Block]:
    """InputFileError when the file is empty, is no text, or cannot be read to its end."""
    first = 1
    for lines, done in _whole_lines(text_pieces(source)):
        if lines is None:
            yield Block(first, None, 0, True, done)
            first += 1
            continue
        yield Block(first, *_readable(lines), done)
        first += lines.count(b"\n")


def text_pieces(source: Source) -> Iterator[tuple[bytes, int]]:
    """The text in UTF-8 as it comes, and the bytes of the file, as stored, that are read. Errors as of text_blocks."""
    beginning = source.beginning()
    encoding = _encoding(source, beginning)
    is_cr = _ends_lines_with_cr(beginning.decode(encoding, "replace"))
    with source.readable(), source.open() as stored:
        stream = source.open_stream(stored)
        for piece in _in_utf8(stream, encoding):
            yield piece.replace(b"\r", b"\n") if is_cr else piece, stored.tell()


def beginning_text(source: Source) -> str:
    """The first characters. InputFileError when the file is empty or no text."""
    beginning = source.beginning()
    return beginning.decode(_encoding(source, beginning), "replace").removeprefix("\ufeff")


def _encoding(source: Source, beginning: bytes) -> str:
    if not beginning.strip():
        raise InputFileError(f"{source} is empty")
    for mark, encoding in _MARKS.items():
        if beginning.startswith(mark):
            return encoding
    if b"\0" not in beginning.lstrip().partition(b"\n")[0]:
        return "utf-8"  # a 0 further down is no more than an odd character
    # The letters of a header take two bytes each in UTF-16, one of which is 0.
    for encoding, zeros in (("utf-16-le", beginning[1:64:2]), ("utf-16-be", beginning[:64:2])):
        if zeros and not zeros.strip(b"\0"):
            return encoding
    raise InputFileError(f"{source} is neither text nor Parquet")


def _ends_lines_with_cr(text: str) -> bool:
    return "\r" in text.rstrip("\r") and "\n" not in text


def _in_utf8(stream: pa.NativeFile, encoding: str) -> Iterator[bytes]:
    if encoding == "utf-8":
        is_first = True
        while piece := stream.read(BLOCK_BYTES):
            yield bytes(piece).removeprefix(codecs.BOM_UTF8) if is_first else bytes(piece)
            is_first = False
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    while piece := stream.read(BLOCK_BYTES):
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode()


def _whole_lines(pieces: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes | None, int]]:
    """Lines together, or None for one that is too long; and what comes with the piece before which they end. Holds two
    blocks, and the line that is not at its end yet."""
    held, rest, is_too_long, done = b"", b"", False, 0
    for piece, done in pieces:
        for lines in _without_long_lines(held):
            yield lines, done
        text = rest + piece
        end = text.rfind(b"\n") + 1
        held, rest = text[:end], text[end:]
        if is_too_long and held:
            yield None, done
            held, is_too_long = held[held.index(b"\n") + 1 :], False
        if is_too_long or len(rest) > LONGEST_LINE:
            rest, is_too_long = b"", True
    for lines in _without_long_lines(held + rest + b"\n" * bool(rest)):
        yield lines, done
    if is_too_long:
        yield None, done


def _without_long_lines(whole: bytes) -> Iterator[bytes | None]:
    begin = 0
    while begin < len(whole):
        # A line of more than LONGEST_LINE bytes has no line break in one of the stretches of that length.
        end = len(whole)
        at = begin
        while at < len(whole):
            until = whole.rfind(b"\n", at, at + LONGEST_LINE + 1)
            if until < 0:
                end = at
                break
            at = until + 1
        if end > begin:
            yield whole[begin:end]
        if end < len(whole):
            yield None
            end = whole.index(b"\n", end) + 1
        begin = end


def _readable(lines: bytes) -> tuple[bytes, int, bool]:
    """Lines that are no UTF-8 read as windows-1252, which Excel and banks write; how many these are, and whether all
    could be read."""
    if _is_utf8(lines):
        return lines, 0, True
    read, recoded, is_utf8 = [], 0, True
    for line in (text + b"\n" for text in lines.split(b"\n")[:-1]):
        if _is_utf8(line):
            read.append(line)
            continue
        try:
            read.append(line.decode("cp1252").encode())
            recoded += 1
        except UnicodeDecodeError:
            read.append(line)
            is_utf8 = False
    return b"".join(read), recoded, is_utf8


def _is_utf8(lines: bytes) -> bool:
    try:
        lines.decode()
    except UnicodeDecodeError:
        return False
    return True
