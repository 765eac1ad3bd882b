"""Tables from outside, batch by batch: what is refused whole, what a row at a time."""

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pm.errors import DataError
from pm.pipelines.imports import tabular_batches
from pm.pipelines.imports.tabular_batches import open_table

NONE: frozenset[str] = frozenset()


def read(path, format, wanted=("a", "b"), optional=NONE, **options):
    batches = list(open_table(path, format, **options).read(list(wanted), optional))
    frame = pl.concat([batch.columns for batch in batches])
    lines = [line for batch in batches for line in batch.lines.to_list()]
    return lines, frame.rows(), [(row.line, row.reason) for batch in batches for row in batch.refused]


def write(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_takes_the_wanted_columns_and_says_the_line_of_each_row(tmp_path):
    path = write(tmp_path, 'a,x,b\n1,,"two\nlines"\n\n3,,4\n')
    assert read(path, "csv") == ([2, 5], [("1", "two\nlines"), ("3", "4")], [])


def test_a_row_with_other_cells_than_the_header_is_set_aside(tmp_path):
    path = write(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert read(path, "csv") == (
        [2, 5],
        [("1", "2"), ("7", "8")],
        [(3, "expected 2 cells, but got 1"), (4, "expected 2 cells, but got 3")],
    )


def test_delimiter_and_encoding_are_as_the_mapping_says(tmp_path):
    path = write(tmp_path, "a;b\n1;Kühler\n".encode("cp1252"))
    assert read(path, "csv", delimiter=";", encoding="cp1252")[1] == [("1", "Kühler")]
    with pytest.raises(DataError, match="t.csv, after line 0: expected text in utf-8"):
        read(path, "csv", delimiter=";")


def test_a_mark_of_byte_order_is_no_part_of_the_first_name(tmp_path):
    assert read(write(tmp_path, "\ufeffa,b\n1,2\n"), "csv")[1] == [("1", "2")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a CSV file with a header"),
        (b"\n1,2\n", "expected a CSV file with a header"),
        (b"a,c\n1,2\n", r"expected columns \['b'\] in the header, but got \['a', 'c'\]"),
        (b"a,b,a\n1,2,3\n", r"expected each column once in the header, but got \['a'\] twice"),
        (b"PAR1\0\0a,b\n", "expected a CSV file with a header, but got zero bytes"),
        (b'a,b\n"1,2\n' + b"x" * 200_000, "line 3: expected CSV, but got: field larger"),
    ],
)
def test_a_bad_csv_file_is_refused_whole(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, content), "csv")


def test_a_line_without_end_fills_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tabular_batches, "LINE_LIMIT_CHARACTERS", 1000)
    for name, format in (("t.csv", "csv"), ("t.jsonl", "jsonl")):
        with pytest.raises(DataError, match="line 1: expected at most 1000 characters"):
            read(write(tmp_path, b"a" * 2000, name), format)


def test_a_file_that_is_too_large_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(tabular_batches, "SIZE_LIMIT_BYTES", 10)
    with pytest.raises(DataError, match="expected at most 10 bytes, but got 11"):
        open_table(write(tmp_path, b"a,b\n1,2\n3,4"), "csv")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_missing_file_is_named(tmp_path, format):
    with pytest.raises(DataError, match="nowhere"):
        open_table(tmp_path / "nowhere", format)


def test_json_lines_are_read_by_dotted_path(tmp_path):
    lines = (
        '{"a": {"x": 1}, "b": true}',
        "",
        '{"a": {"x": 2.0}, "b": 0.1}',
        '{"a.x": "own", "b": null}',
        '{"a": 3}',
    )
    found = read(write(tmp_path, "\n".join(lines)), "jsonl", ("a.x", "b"))
    assert found == ([1, 3, 4, 5], [("1", "true"), ("2", "0.1"), ("own", None), (None, None)], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1, 2]", "expected a JSON object, but got list"),
        ("{", "expected JSON, but got: "),
        ('{"a": [1]}', "a: expected a text, a number or true or false, but got a list"),
        ('{"a": {"x": 1}}', "a: expected a text, a number or true or false, but got an object"),
        ('{"a": "\\ud800"}', "expected text, but got half of a surrogate pair"),
        ('{"a": ' + "[" * 100_000, "expected JSON, but got: "),
        ('{"a": ' + "9" * 5000 + "}", "expected JSON, but got: "),
    ],
)
def test_a_json_line_that_is_no_row_is_set_aside(tmp_path, line, reason):
    lines, found, refused = read(write(tmp_path, f'{{"a": 1, "b": 2}}\n{line}\n{{"a": 3, "b": 4}}\n'), "jsonl")
    assert (lines, found) == ([1, 3], [("1", "2"), ("3", "4")])
    ((number, said),) = refused
    assert number == 2
    assert said.startswith(reason)


def test_a_key_that_no_json_line_has_refuses_the_file(tmp_path):
    path = write(tmp_path, '{"a": 1}\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"expected keys \['b'\] in the rows, but got none in 2 rows"):
        read(path, "jsonl")
    assert read(path, "jsonl", optional=frozenset({"b"}))[1] == [("1", None), ("2", None)]


def test_parquet_keeps_the_types_of_its_columns(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, 2.5]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", "parquet", ("c", "b")) == ([1, 2], [(1.5, "x"), (2.5, None)], [])


def test_batches_are_of_bounded_size_and_lines_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tabular_batches, "BATCH_ROWS", 3)
    frame = pl.DataFrame({"a": list(range(8)), "b": ["x"] * 8})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    for format, first in (("parquet", 1), ("csv", 2)):
        table = open_table(tmp_path / f"t.{format}", format)
        batches = list(table.read(["a", "b"], NONE))
        assert max(batch.columns.height for batch in batches) == 3
        assert [line for batch in batches for line in batch.lines.to_list()] == list(range(first, first + 8))


def test_a_text_that_a_dictionary_repeats_fills_no_memory(tmp_path):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"a": texts}), tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 200_000
    (batch,) = open_table(tmp_path / "bomb.parquet", "parquet").read(["a"], NONE)
    assert batch.columns["a"].str.len_chars().unique().to_list() == [4001]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"a,b\n1,2\n"])
def test_no_parquet_file_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="t.parquet: expected a Parquet file"):
        read(write(tmp_path, content, "t.parquet"), "parquet")


def test_a_damaged_parquet_file_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": list(range(5000)), "b": [str(n) for n in range(5000)]}).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(DataError, match="t.parquet: expected a Parquet file"):
        read(path, "parquet")


def test_a_parquet_column_of_lists_is_refused(tmp_path):
    pl.DataFrame({"a": [[1]], "b": [1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column a: expected text, numbers"):
        read(tmp_path / "t.parquet", "parquet")


def test_a_parquet_file_that_declares_too_much_is_not_read(tmp_path, monkeypatch):
    pl.DataFrame({"a": list(range(5000)), "b": [1] * 5000}).write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(tabular_batches, "_COLUMN_CHUNK_LIMIT_BYTES", 100)
    with pytest.raises(DataError, match="expected at most 100 bytes in a column of a row group"):
        read(tmp_path / "t.parquet", "parquet")
    monkeypatch.setattr(tabular_batches, "MOST_ROWS", 4999)
    with pytest.raises(DataError, match="expected at most 4999 rows, but got 5000"):
        open_table(tmp_path / "t.parquet", "parquet")
