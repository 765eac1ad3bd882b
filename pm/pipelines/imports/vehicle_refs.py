"""Which vehicle an imported row is of: by unit number or VIN, added where the mapping says so.

What belongs here: finding vehicles for batches of rows. VINs are looked up in `pm.vehicle_identity` and are
in nothing that leaves this module.
"""

import secrets
from typing import Final

import polars as pl

from pm.pipelines.imports.mapping import VehicleChoice
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.sifting import without_vin
from pm.store import vehicles
from pm.store.connection import Connection
from pm.tables import VEHICLE

_ROW: Final = "row"
_NAMED: Final = ("fleet", "vehicle_ref", "vin")
UNKNOWN: Final = "vehicle_ref: expected the unit number or VIN of a known vehicle, but got neither"
SEVERAL: Final = "vehicle_ref: expected one vehicle, but got one of several fleets: name the fleet"
LIKE_A_VIN: Final = "vehicle_ref: expected a unit number, but got what looks like a VIN: map it as vin"
NOT_NAMED: Final = "vehicle_ref: expected a value, but got none"


class VehicleFinder:
    """Finds the vehicles of one import's rows, and adds those nobody has added where it may."""

    def __init__(self, conn: Connection, choice: VehicleChoice) -> None:
        self._conn, self._choice = conn, choice
        self._known = vehicles.fetch_vehicles(conn).select("fleet", "vehicle_ref", "vehicle_id")
        self._added = pl.Series("vehicle_id", [], pl.Int32())
        self._seen: list[pl.DataFrame] = []

    @property
    def n_added(self) -> int:
        return len(self._added)

    def find(self, rows: RowValues, known_at: pl.Series) -> pl.Series:
        """The vehicle_id (Int32) of each row; null, and refused, where there is none.

        A vehicle is added only for a row that nothing else refuses, known since the first such row.
        """
        named = self._named(rows)
        ids = self._ids(rows, named)
        if self._choice.adds_unknown:
            absent = ids.is_null() & rows.is_good()
            if absent.any():
                self._add(named.with_columns(known_at=known_at).filter(absent))
                ids = self._ids(rows, named)
            self._note_earlier(ids, known_at, rows.is_good())
        rows.refuse(ids.is_null() & rows.is_good(), UNKNOWN)
        return ids

    def finish(self) -> None:
        """Give the vehicles that were added the earliest instant of their rows, whatever batch those were in."""
        if self._seen:
            first = pl.concat(self._seen).group_by("vehicle_id").agg(pl.col("known_at").min())
            vehicles.note_known_earlier(self._conn, first)

    def _named(self, rows: RowValues) -> pl.DataFrame:
        """fleet, vehicle_ref and vin (String) as the rows name their vehicles; rows that name none are refused."""
        choice, empty = self._choice, pl.Series([None] * rows.n_rows, dtype=pl.String())
        cells = (choice.fleet, choice.vehicle_ref, choice.vin)
        found = {name: empty if cell is None else rows.text(cell) for name, cell in zip(_NAMED, cells, strict=True)}
        rows.refuse(found["vehicle_ref"].is_null() & found["vin"].is_null(), NOT_NAMED)
        if choice.fleet is not None and choice.adds_unknown:
            rows.refuse(found["fleet"].is_null(), "fleet: expected a value, but got none")
        if choice.adds_unknown:
            refuse_vins(rows, found["vehicle_ref"])
        return pl.DataFrame({name: series.alias(name) for name, series in found.items()})

    def _ids(self, rows: RowValues, named: pl.DataFrame) -> pl.Series:
        by_ref = self._by_ref(rows, named)
        if not (named["vin"].null_count() < named.height or by_ref.null_count()):
            return by_ref
        # Who has no column for VINs may have them among the unit numbers.
        vins = named["vin"] if self._choice.vin is not None else named["vehicle_ref"]
        by_vin = self._by_vin(vins)
        first, second = (by_vin, by_ref) if self._choice.vin is not None else (by_ref, by_vin)
        return pl.select(pl.coalesce(pl.lit(first), pl.lit(second))).to_series().alias("vehicle_id")

    def _by_ref(self, rows: RowValues, named: pl.DataFrame) -> pl.Series:
        if named["fleet"].null_count() == named.height:
            single = self._known.group_by("vehicle_ref").agg(pl.col("vehicle_id").first(), pl.len().alias("n"))
            found = named.join(single, on="vehicle_ref", how="left", maintain_order="left")
            rows.refuse((found["n"] > 1) & rows.is_good(), SEVERAL)
        else:
            found = named.join(self._known, on=["fleet", "vehicle_ref"], how="left", maintain_order="left")
        return found["vehicle_id"]

    def _by_vin(self, vins: pl.Series) -> pl.Series:
        found = vehicles.ids_of_vins(self._conn, vins.drop_nulls().unique())
        named = pl.DataFrame({"vin": vins.alias("vin")})
        return named.join(found, on="vin", how="left", maintain_order="left")["vehicle_id"]

    def _add(self, absent: pl.DataFrame) -> None:
        """Add vehicles; one that is named by its VIN alone gets a random unit number."""
        key = ["fleet", "vehicle_ref", "vin"]
        single = absent.group_by(key, maintain_order=True).agg(pl.col("known_at").min())
        names = [ref or f"vehicle-{secrets.token_hex(5)}" for ref in single["vehicle_ref"]]
        given = single.with_columns(vehicle_ref=pl.Series(names, dtype=pl.String()))
        rest = [column for column in VEHICLE.columns if column.name not in {*given.columns, "vehicle_id"}]
        full = given.with_columns(pl.lit(None, column.dtype).alias(column.name) for column in rest)
        made = vehicles.add_vehicles(self._conn, full).select(self._known.columns)
        new = made.join(self._known, on="vehicle_id", how="anti")
        self._known, self._added = pl.concat([self._known, new]), pl.concat([self._added, new["vehicle_id"]])

    def _note_earlier(self, ids: pl.Series, known_at: pl.Series, good: pl.Series) -> None:
        if not self.n_added:
            return
        mine = pl.DataFrame({"vehicle_id": ids.alias("vehicle_id"), "known_at": known_at.alias("known_at")})
        of_added = mine.filter(good & ids.is_in(self._added.implode()))
        self._seen.append(of_added.group_by("vehicle_id").agg(pl.col("known_at").min()))


def refuse_vins(rows: RowValues, refs: pl.Series) -> None:
    """Refuse rows whose unit number looks like a VIN: as a unit number it would be stored and shown."""
    unique = refs.drop_nulls().unique()
    suspects = unique.filter(unique.str.len_chars() >= 17)
    vins = [ref for ref in suspects if without_vin(ref) != ref]
    if vins:
        rows.refuse(refs.is_in(vins), LIKE_A_VIN)
