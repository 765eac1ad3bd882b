"""The same table gives the same rows and the same refusals as CSV, JSON lines and Parquet."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from import_tables import write_table

from pm.pipelines.imports.mapping import Cell, Target
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.mapping_spans import Span
from pm.pipelines.imports.mapping_times import read_instants
from pm.pipelines.imports.tabular_batches import open_table

SUFFIXES = ("csv", "jsonl", "parquet")
WORDS = st.sampled_from(["pump", " hose ", "", "N/A", "yes", "No", "7", "Kühler, links", 'a "b"', "1.5", "-", "0"])
NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(float), st.floats(-1e6, 1e6, width=32).map(lambda x: round(x, 3)), st.just(-9999.0)
)
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(microsecond=0))
ROWS = st.lists(
    st.tuples(WORDS | st.none(), NUMBERS | st.none(), INSTANTS | st.none(), WORDS | st.none()), min_size=1, max_size=12
)


@st.composite
def cells(draw):
    """Any cell of each kind of value."""
    columns = draw(st.sampled_from([("text",), ("other",), ("number",), ("text", "other"), ("number", "other")]))
    missing = tuple(draw(st.lists(st.sampled_from(["N/A", "-", -9999, 0]), unique=True)))
    required = draw(st.booleans())
    kind = draw(st.sampled_from(["text", "number", "whole", "flag", "instant"]))
    target = Target(
        "value", kind, required=required, is_key=draw(st.booleans()), maximum=draw(st.sampled_from([None, 1000.0]))
    )
    if kind == "text":
        default = draw(st.sampled_from([None, "none"]))
        return Cell(
            target, columns, separator="/", prefix=draw(st.sampled_from(["", "x-"])), missing=missing, default=default
        )
    if kind == "instant":
        return Cell(
            target,
            ("at",),
            time_zone=draw(st.sampled_from(["UTC", "America/Toronto", "Europe/Berlin", ""])),
            shift=Span(draw(st.integers(0, 2)), timedelta(hours=draw(st.integers(0, 30)))),
        )
    values = {"yes": True, "No": False} if kind == "flag" and draw(st.booleans()) else {}
    scale = (
        {}
        if kind == "flag"
        else {"factor": draw(st.sampled_from([1.0, 0.5])), "offset": draw(st.sampled_from([0.0, 10.0]))}
    )
    return Cell(target, columns[:1], missing=missing, values=values, **scale)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, cell=cells())
def test_a_table_is_read_alike_in_every_format(rows, cell):
    schema = {"text": pl.String, "number": pl.Float64, "at": pl.Datetime("us"), "other": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    found = {suffix: values_of(frame, suffix, cell) for suffix in SUFFIXES}
    assert found["csv"] == found["jsonl"]
    assert found["csv"] == found["parquet"]


def values_of(frame, suffix, cell):
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(plain(frame) if suffix == "csv" else frame, Path(folder) / f"t.{suffix}")
        (batch,) = open_table(path, suffix).read(list(frame.columns), frozenset(frame.columns))
    rows = RowValues(batch.columns, pl.int_range(1, 1 + batch.columns.height, dtype=pl.Int64, eager=True))
    values = rows.value(cell).to_list()
    good = rows.is_good().to_list()
    return [value if kept else None for value, kept in zip(values, good, strict=True)], rows.refused()


def plain(frame):
    """Numbers as a program writes them that knows whole ones."""
    return frame.with_columns(
        pl.when(pl.col("number") == pl.col("number").round())
        .then(pl.col("number").cast(pl.Int64).cast(pl.String))
        .otherwise(pl.col("number").cast(pl.String))
        .alias("number")
    )


@given(local=INSTANTS, zone=st.sampled_from(["America/Toronto", "Europe/Berlin", "Australia/Lord_Howe"]))
def test_knowledge_is_never_read_earlier_than_the_event_at_one_local_time(local, zone):
    cell = Cell(Target("at", "instant"), ("at",), time_zone=zone)
    (event,), (known,) = (read_instants(pl.Series([local]), cell, reading) for reading in ("earliest", "latest"))
    assert (event is None) == (known is None)
    assert event is None or event <= known
