"""CSV text by blocks: however a block is read, its rows are the same."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from fraud_core.input_files.formats.csv_rows import csv_rows
from fraud_core.input_files.sources import sources_of
from fraud_core.payments.mapping_file import FileShape

PLAIN = ("1,2,3", "'a,b',c", "\\N, x,y", ",,", "é,ü,3", "NA,,0")
QUOTED = ('x,"y",z', '"a,b",c,', '"a""b",c,d', 'a"b,c,d', '" x" ,1,2', '"a",b,"c"\r', '\t,"	",1')
ODD = ("bad", '"q\nr",s,t', "1,2,3\r", "a\rb,c,d", '"o,1,2', '\\N,"\\"",x', "", "1,2,3,4", '"a"b,c,d')
OPEN = '"open'


def rows_of(file: Path) -> list[tuple]:
    """Number and fields of each row, or the reason why it was refused."""
    rows = []
    for chunk in csv_rows(sources_of(file)[0], FileShape()):
        rows += zip(chunk.numbers.tolist(), chunk.columns.rows(), strict=True)
        rows += [(one.number, one.reason) for one in chunk.unreadable]
    return sorted(rows, key=lambda row: row[0])


@given(
    st.sampled_from([PLAIN, PLAIN + QUOTED, PLAIN + QUOTED + ODD]).flatmap(lambda kind: st.lists(st.sampled_from(kind)))
)
def test_a_block_that_is_read_at_once_has_the_rows_of_one_that_is_read_line_by_line(lines):
    """A quote that is never closed, two lines further down, makes a block be read line by line."""
    with TemporaryDirectory() as folder:
        at_once, one_by_one = Path(folder) / "a.csv", Path(folder) / "b.csv"
        text = "\n".join(["a,b,c", *lines, *PLAIN[:2]]) + "\n"
        at_once.write_text(text, newline="")
        one_by_one.write_text(text + OPEN, newline="")
        *rows, (number, reason) = rows_of(one_by_one)
        assert (number, reason) == (text.count("\n") + 1, "not CSV: a quote opens here and is never closed")
        assert rows_of(at_once) == rows
