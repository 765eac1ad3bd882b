"""rFMS vehicles: what the server says of each, and the vehicle that a VIN is.

What belongs here: reading vehicle objects, and finding or making the vehicles of the VINs in a response.
VINs stay in `pm.vehicle_identity`: a vehicle without a name of its own gets a random one.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pm.pipelines.rfms.response import is_usual_vin, read_name, read_text, read_vin
from pm.pipelines.rfms.statuses import look_up
from pm.store import polls, vehicles
from pm.store.connection import Connection
from pm.store.imports import RejectedRow

_FILLED: Final = ("model", "model_year", "in_service_at")
_FIRST_YEAR, _LAST_YEAR = 1950, 2100
_NAME_BYTES: Final = 3


@dataclass(frozen=True)
class FleetVehicle:
    """A vehicle as rFMS names it; what the server does not say, or says in a VIN, is None."""

    vin: str
    name: str | None = None
    model: str | None = None
    model_year: int | None = None
    in_service_at: datetime | None = None


@dataclass
class Fleet:
    """The vehicles met in one run, so that each VIN is looked up once."""

    name: str
    ids: dict[str, int] = field(default_factory=dict)
    n_added: int = 0
    several: set[str] = field(default_factory=set)
    """VINs that several vehicles have, none of them in this fleet."""

    @property
    def n_unusual_vins(self) -> int:
        """VINs met that have not the form of ISO 3779; they are taken like any other."""
        return sum(not is_usual_vin(vin) for vin in self.ids)


def read_vehicles(records: Sequence[Any]) -> tuple[list[FleetVehicle], list[RejectedRow]]:
    """Vehicle objects, and the records that name none, with a reason that holds no VIN."""
    found, rejected = [], []
    for row_no, record in enumerate(records, 1):
        vin = read_vin(look_up(record, "vin"))
        if vin is None:
            rejected.append(RejectedRow(row_no, "vin: expected a text of at most 64 characters, but got none"))
            continue
        year, made_at = _production(record)
        found.append(
            FleetVehicle(
                vin, read_name(look_up(record, "customerVehicleName"), vin), _model(record, vin), year, made_at
            )
        )
    return found, rejected


def place(conn: Connection, fleet: Fleet, met: Sequence[tuple[FleetVehicle, datetime]]) -> None:
    """Find or add each vehicle, known since its instant, and fill what is not known of it yet.

    What the fleet's own records say of a vehicle is never written over. In the caller's transaction,
    which holds all vehicles.
    """
    _look_up(conn, fleet, [vehicle.vin for vehicle, _ in met if vehicle.vin not in fleet.ids])
    stored = {int(row["vehicle_id"]): row for row in vehicles.fetch_vehicles(conn).iter_rows(named=True)}
    named = {str(row["vehicle_ref"]): row for row in stored.values() if row["fleet"] == fleet.name}
    for vehicle, known_at in met:
        if vehicle.vin in fleet.several:
            continue
        # A vehicle is known from its first day on: a history that is imported later can be replayed.
        since = min(known_at, vehicle.in_service_at or known_at)
        if vehicle.vin in fleet.ids:
            _fill(conn, stored[fleet.ids[vehicle.vin]], vehicle, since)
        else:
            row = _add(conn, fleet, vehicle, since, named)
            stored[row["vehicle_id"]] = named[row["vehicle_ref"]] = row


def _look_up(conn: Connection, fleet: Fleet, vins: Sequence[str]) -> None:
    found: dict[str, list[tuple[int, str]]] = {}
    for vin, vehicle_id, name in polls.vehicles_of_vins(conn, vins):
        found.setdefault(vin, []).append((vehicle_id, name))
    for vin, owners in found.items():
        mine = [vehicle_id for vehicle_id, name in owners if name == fleet.name]
        if len(mine) == 1 or len(owners) == 1:
            fleet.ids[vin] = mine[0] if mine else owners[0][0]
        else:
            fleet.several.add(vin)


def _add(
    conn: Connection, fleet: Fleet, vehicle: FleetVehicle, since: datetime, named: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The row of the vehicle, made where no vehicle of the fleet without a VIN has its name."""
    row = named.get(vehicle.name or "")
    if row is not None and vehicles.note_vin(conn, row["vehicle_id"], vehicle.vin, known_at=since):
        fleet.ids[vehicle.vin] = row["vehicle_id"]
        _fill(conn, row, vehicle, since)
        return row
    ref = vehicle.name
    while ref is None or ref in named:
        ref = f"{vehicle.name or 'rfms'}-{secrets.token_hex(_NAME_BYTES)}"
    given = {name: getattr(vehicle, name) for name in _FILLED}
    vehicle_id = vehicles.add_vehicle(conn, fleet=fleet.name, vehicle_ref=ref, known_at=since, vin=vehicle.vin, **given)
    fleet.ids[vehicle.vin] = vehicle_id
    fleet.n_added += 1
    return {**given, "vehicle_id": vehicle_id, "fleet": fleet.name, "vehicle_ref": ref, "known_at": since}


def _fill(conn: Connection, row: dict[str, Any], vehicle: FleetVehicle, since: datetime) -> None:
    given = {name: getattr(vehicle, name) for name in _FILLED if row[name] is None}
    if any(value is not None for value in given.values()) or since < row["known_at"]:
        vehicles.add_vehicle(conn, fleet=row["fleet"], vehicle_ref=row["vehicle_ref"], known_at=since, **given)
        row.update({name: value for name, value in given.items() if value is not None})
        row["known_at"] = min(row["known_at"], since)


def known_since(rows: Mapping[str, datetime]) -> list[tuple[FleetVehicle, datetime]]:
    """Vehicles of which nothing but the VIN is known, each with the instant it was first heard of."""
    return [(FleetVehicle(vin), instant) for vin, instant in sorted(rows.items())]


def _model(record: Any, vin: str) -> str | None:
    brand, model = (read_text(look_up(record, name), (vin,)) for name in ("brand", "model"))
    if brand is None or model is None:
        return brand or model
    return model if model.upper().startswith(brand.upper()) else f"{brand} {model}"


def _production(record: Any) -> tuple[int | None, datetime | None]:
    """Year of production, and its day where the whole date is there."""
    year, month, day = (look_up(record, f"productionDate.{name}") for name in ("year", "month", "day"))
    if type(year) is not int or not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None, None
    try:
        return year, datetime(year, month, day, tzinfo=UTC)
    except (TypeError, ValueError):
        return year, None
