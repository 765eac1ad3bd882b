"""The database dies in the middle of an ingest: the file is whole or not there, and once more makes it whole."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from database_content import Content, content_of
from j1939_lines import SMALL_DBC, coolant, engine_speed, trouble_code, written
from killed_ingest import Death, Ended, Ingester, Moment, Victim

from pm.errors import StoreError
from pm.settings import Settings
from pm.store import connection, server, timescale, vehicles
from pm.store.server_cluster import Cluster
from pm.store.server_place import find_place

FAST = {"fsync": "off", "shared_buffers": "64MB"}
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
MIDNIGHT = int(datetime(2026, 3, 3, tzinfo=UTC).timestamp())
COMES_BACK_S = 30.0


@pytest.fixture(scope="module")
def ingester() -> Iterator[Ingester]:
    with Ingester() as running:
        yield running


class PrivateServer:
    """A server of this test's own, migrated, with what a death needs to know of it."""

    def __init__(self, settings: Settings, engine: Any, software: Path) -> None:
        self.settings, self.engine, self.software = settings, engine, software
        self.url = self.start()
        connection.migrate_database(settings, self.url)
        place = find_place(settings.home)
        self.data = Cluster(engine, place.folder(engine), place.account).data

    def start(self) -> str:
        url = server.start(self.settings, engine=self.engine, software=self.software, options=FAST).url
        assert url is not None
        return url

    def content(self, vehicle_id: int) -> Content:
        """Of one vehicle, as soon as the postmaster has replaced what died."""
        until = time.monotonic() + COMES_BACK_S
        while True:
            try:
                with connection.connect(self.url) as conn:
                    return content_of(conn, vehicle_id=vehicle_id)
            except (StoreError, psycopg.OperationalError):
                assert time.monotonic() < until, "the server did not come back"
                time.sleep(0.1)


@pytest.fixture
def private_server(private: Settings, engine: Any, software: Path) -> PrivateServer:
    if engine == "timescaledb" and os.environ.get("CI") != "true":
        said: list[str] = []
        if timescale.provide(software / "timescaledb", say=said.append) is None:
            pytest.skip(f"TimescaleDB cannot be had here: {'; '.join(said)}")
    return PrivateServer(private, engine, software)


def test_a_server_process_or_the_whole_server_is_killed_and_the_file_ingested_once_more(
    private_server: PrivateServer, ingester: Ingester, tmp_path: Path
) -> None:
    dbc = (written(tmp_path / "small.dbc", SMALL_DBC),)
    path = written(
        tmp_path / "small.log",
        *(coolant(MIDNIGHT - 3 + at, 80 + at) for at in range(6)),
        *(engine_speed(MIDNIGHT + at, 900 + at) for at in range(4)),
        trouble_code(MIDNIGHT + 3.5, 110, 0),
    )

    def ingest(vehicle_id: int, death: Death | None = None) -> Ended:
        return ingester.ingest(private_server.url, path, vehicle_id, KNOWN_AT, dbc, death)

    with connection.connect(private_server.url) as conn:
        first, second = _new_vehicle(conn, "1"), _new_vehicle(conn, "2")
        assert ingest(first).error is None  # makes tables and chunks
        undisturbed = ingest(second)
        wanted = content_of(conn, vehicle_id=second)
    assert len(wanted["telemetry.et1"]) == 6
    for number, death in enumerate(_deaths(undisturbed.n_points, str(private_server.data))):
        with connection.connect(private_server.url) as conn:
            owner = _new_vehicle(conn, f"{death.victim}-{number}")
        ended = ingest(owner, death)
        assert ended.signal is None, death
        is_at_end = death.at == undisturbed.n_points and death.moment == "sent"
        assert ended.error is not None or is_at_end, (death, ended)
        if death.victim == "server":
            assert private_server.start() == private_server.url
        found = private_server.content(owner)
        assert found == wanted or (found == {} and ended.error), death
        again = ingest(owner)
        assert again.error is None, (death, again.said)
        assert private_server.content(owner) == wanted, death


def _deaths(n_points: int, data: str) -> Iterator[Death]:
    """On the way, and at the COMMIT, which is the last thing said."""
    victims: tuple[Victim, ...] = ("backend", "server")
    moments: tuple[Moment, ...] = ("before", "sent")
    for victim in victims:
        for at, moment in zip((n_points // 5, 2 * n_points // 5, 4 * n_points // 5), (*moments, "sent"), strict=True):
            yield Death(at, moment, victim, data)
        for moment in moments:
            yield Death(n_points, moment, victim, data)


def _new_vehicle(conn: psycopg.Connection, name: str) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref=f"T-{name}", known_at=KNOWN_AT)
