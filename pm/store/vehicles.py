"""Vehicles: `pm.vehicle`, and `pm.vehicle_identity`, the only table with VINs.

What belongs here: naming vehicles. Everything else in the database knows only the random vehicle_id.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.errors import DataError, StoreError
from pm.schema import Column
from pm.store import frames
from pm.store.queries import refusals, run
from pm.tables import VEHICLE

_LARGEST_ID: Final = 2**31 - 1
_TRIES: Final = 20
_NAME: Final = ["fleet", "vehicle_ref"]
_IDENTITY: Final = frames.Target("pm", "vehicle_identity", ("vehicle_id",))
_GIVEN: Final = replace(
    VEHICLE,
    key=tuple(_NAME),
    columns=(
        *(column for column in VEHICLE.columns if column.name != "vehicle_id"),
        Column("vin", pl.String(), "vehicle identification number", nullable=True),
    ),
)
"""A vehicle as it is added."""


def add_vehicle(
    conn: psycopg.Connection,
    *,
    fleet: str,
    vehicle_ref: str,
    known_at: datetime,
    model: str | None = None,
    model_year: int | None = None,
    duty: str | None = None,
    in_service_at: datetime | None = None,
    left_at: datetime | None = None,
    vin: str | None = None,
) -> int:
    """The vehicle_id of this fleet and unit number, made if there is none.

    Of a vehicle that is there, what is given here (not None) is written over what is stored;
    `known_at` stays the earliest.

    Raises:
        DataError: an instant is not UTC, or a value does not fit its column.
        StoreError: the database could not do it.
    """
    require_instant(known_at, "known_at")
    given = {
        "fleet": fleet,
        "vehicle_ref": vehicle_ref,
        "model": model,
        "model_year": model_year,
        "duty": duty,
        "in_service_at": in_service_at,
        "left_at": left_at,
        "known_at": known_at,
    }
    with frames.atomic(conn):
        vehicle_id = _insert(conn, given)
        if vin is not None:
            run(conn, "vehicle", "set_vin", vehicle_id=vehicle_id, vin=vin, known_at=known_at)
    return vehicle_id


def _insert(conn: psycopg.Connection, given: Mapping[str, object]) -> int:
    for _ in range(_TRIES):
        # Random, so that a number tells nothing of the vehicle, its fleet or when it came.
        run(conn, "vehicle", "add", vehicle_id=1 + secrets.randbelow(_LARGEST_ID), **given)
        row = run(conn, "vehicle", "update", **given).fetchone()
        if row is not None:
            return int(row[0])
    raise StoreError(f"vehicle {given['vehicle_ref']}: expected a free vehicle number, but got {_TRIES} that are taken")


def add_vehicles(conn: psycopg.Connection, given: pl.DataFrame) -> pl.DataFrame:
    """Many vehicles at once, each as `add_vehicle` does; one transaction.

    Args:
        given: VEHICLE without vehicle_id, and vin (String); fleet, vehicle_ref and known_at have no nulls.

    Returns fleet, vehicle_ref, vehicle_id, and whether the vehicle is new or something of it is
    (is_changed, Boolean), in the order given.

    Raises:
        DataError: the frame does not fit, or names a vehicle twice.
        StoreError: the database could not do it.
    """
    checked = _GIVEN.check(given)
    with refusals("table pm.vehicle"), frames.atomic(conn):
        run(conn, "vehicle", "lock")
        stored = fetch_vehicles(conn)
        new = checked.join(stored, on=_NAME, how="anti")
        ids = _free_ids(new.height, set(stored["vehicle_id"].to_list()))
        made = new.with_columns(vehicle_id=pl.Series(ids, dtype=pl.Int32()))
        frames.insert(conn, VEHICLE, made)
        with frames.staged(conn, frames.target_of(VEHICLE), checked.drop("vin")):
            changed = run(conn, "vehicle", "update_staged").fetchall()
        every = pl.concat([stored.select(*_NAME, "vehicle_id"), made.select(*_NAME, "vehicle_id")])
        named = checked.join(every, on=_NAME, how="left", maintain_order="left")
        vins = named.filter(pl.col("vin").is_not_null()).select("vehicle_id", "vin", "known_at")
        if vins.height:
            with frames.staged(conn, _IDENTITY, vins):
                changed += run(conn, "vehicle", "set_staged_vins").fetchall()
    is_changed = pl.col("vehicle_id").is_in([*ids, *(row[0] for row in changed)])
    return named.select(*_NAME, "vehicle_id", is_changed=is_changed)


def _free_ids(count: int, taken: set[int]) -> list[int]:
    found: dict[int, None] = {}
    while len(found) < count:
        drawn = 1 + secrets.randbelow(_LARGEST_ID)
        if drawn not in taken:
            found[drawn] = None
    return list(found)


def note_known_earlier(conn: psycopg.Connection, known: pl.DataFrame) -> int:
    """Vehicles (vehicle_id Int32, known_at) that were known earlier than is stored; returns how many were changed.

    Inside a transaction only.
    """
    with refusals("table pm.vehicle"), frames.staged(conn, frames.target_of(VEHICLE), known):
        return run(conn, "vehicle", "note_staged_known_at").rowcount


def ids_of_vins(conn: psycopg.Connection, vins: pl.Series) -> pl.DataFrame:
    """vin (String) and vehicle_id (Int32) of those of `vins` that are one vehicle's."""
    rows = run(conn, "vehicle", "ids_of_vins", vins=vins.to_list()).fetchall() if len(vins) else []
    return pl.DataFrame(rows, schema={"vin": pl.String(), "vehicle_id": pl.Int32()}, orient="row")


def note_vin(conn: psycopg.Connection, vehicle_id: int, vin: str, *, known_at: datetime) -> bool:
    """Keep a VIN that came with the vehicle's data; whether it now is the vehicle's.

    One that somebody stated is never written over: a control unit swapped from another truck brings
    that truck's VIN along. Of others that known first stays, whatever the order they come in.
    """
    require_instant(known_at, "known_at")
    row = run(conn, "vehicle", "note_vin", vehicle_id=vehicle_id, vin=vin, known_at=known_at).fetchone()
    return row is not None and bool(row[0])


def note_vins(conn: psycopg.Connection, vehicle_id: int, vins: Collection[str], *, known_at: datetime) -> int:
    """Keep the VIN of a log, see `note_vin`; how many of those it carries are another vehicle's.

    Those other than the stated one; where none is stated, all but one. So it does not depend on other logs.
    """
    for vin in sorted(vins):
        note_vin(conn, vehicle_id, vin, known_at=known_at)
    row = run(conn, "vehicle", "stated_vin", vehicle_id=vehicle_id).fetchone()
    return max(len(vins) - 1, 0) if row is None else len(set(vins) - {row[0]})


def vehicle_id(conn: psycopg.Connection, vehicle_ref: str, fleet: str | None = None) -> int:
    """The number of the vehicle with this unit number.

    Raises:
        DataError: no vehicle has it, or vehicles of several fleets do and no fleet is given.
    """
    found = run(conn, "vehicle", "by_ref", vehicle_ref=vehicle_ref, fleet=fleet).fetchall()
    if not found:
        where = "" if fleet is None else f" in fleet {fleet}"
        raise DataError(f"vehicle {vehicle_ref}: expected a known vehicle{where}, but got none of that unit number")
    if len(found) > 1:
        fleets = sorted(str(row[1]) for row in found)
        raise DataError(f"vehicle {vehicle_ref}: expected one fleet, but got {fleets}: name the fleet")
    return int(found[0][0])


def fetch_vehicles(conn: psycopg.Connection) -> pl.DataFrame:
    """All vehicles: VEHICLE, by fleet and unit number."""
    return frames.fetch(conn, VEHICLE, "all")
