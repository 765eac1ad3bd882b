"""rFMS 4.0 for tests: records as a manufacturer's server gives them, and such a server on this machine."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pm.canbus.dbc import load_dbc
from pm.pipelines.rfms.mapping import RfmsMapping, load_mapping
from pm.settings import read_settings

DAY = datetime(2026, 3, 2, tzinfo=UTC)
VIN_1, VIN_2 = "YV2RT40A5KB123456", "XLRTE47MS0G654321"


def ready_mapping() -> RfmsMapping:
    """examples/rfms/mapping.toml with the project's DBC files."""
    settings = read_settings({})
    return load_mapping(settings.project / "examples" / "rfms" / "mapping.toml", load_dbc(settings.dbc_files))


def text(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status(
    vin: str = VIN_1, minute: float = 0, *, late_min: float = 1, trigger: str = "TIMER", **more: Any
) -> dict[str, Any]:
    """A status created `minute` minutes into DAY and received `late_min` later."""
    created = DAY + timedelta(minutes=minute)
    return {
        "vin": vin,
        "triggerType": {"context": "RFMS", "triggerType": trigger},
        "createdDateTime": text(created),
        "receivedDateTime": text(created + timedelta(minutes=late_min)),
        **more,
    }


def full_status(vin: str = VIN_1, minute: float = 0, *, late_min: float = 1, trigger: str = "TIMER") -> dict[str, Any]:
    """A status with every block; its values follow from the minute."""
    return status(
        vin,
        minute,
        late_min=late_min,
        trigger=trigger,
        hrTotalVehicleDistance=95_055_000 + round(minute * 1000),
        totalEngineHours=1234.3 + minute / 60,
        engineTotalFuelUsed=7_890_123 + round(minute * 300),
        grossCombinationVehicleWeight=23456,
        driver1Id={
            "tachoDriverIdentification": {"driverIdentification": "D1234567890123", "cardIssuingMemberState": "S"}
        },
        snapshotData={
            "gnssPosition": {"latitude": 57.71727, "longitude": 11.921161, "positionDateTime": text(DAY)},
            "wheelBasedSpeed": 54.25,
            "engineSpeed": 1234,
            "fuelLevel1": 86,
            "ambientAirTemperature": 23.7,
            "parkingBrakeSwitch": False,
            "trailers": [{"trailerNo": 1, "trailerVin": "WSM00000003012345", "trailerAxleLoadSum": 8000}],
        },
        uptimeData={
            "tellTaleInfo": [
                {"tellTale": "ENGINE_COOLANT_TEMPERATURE", "state": "RED" if minute > 30 else "OFF"},
                {"tellTale": "BRAKES", "state": "NOT_AVAILABLE"},
            ],
            "serviceDistance": 100_000_000,
            "engineCoolantTemperature": 90,
            "serviceBrakeAirPressureCircuit1": 812_000,
            "serviceBrakeAirPressureCircuit2": 834_000,
            "alternatorInfo": {"alternatorStatus": "CHARGING", "alternatorNumber": 1},
        },
        accumulatedData={
            "durationWheelbasedSpeedOverZero": 123_456 + round(minute * 50),
            "engineSpeedClass": [
                {"from": 0, "to": 400, "seconds": 10, "meters": 20, "milliLitres": 30},
                {"from": 400, "to": 800, "seconds": 40 + round(minute), "meters": 50, "milliLitres": 60},
            ],
            "accelerationClass": [{"to": -1.1, "seconds": 5}, {"from": -1.1, "to": -0.9, "seconds": 6}],
        },
    )


def statuses_page(records: list[Any], **more: Any) -> dict[str, Any]:
    page = {"vehicleStatusResponse": {"vehicleStatuses": records}, "moreDataAvailable": False}
    return {**page, "requestServerDateTime": text(DAY + timedelta(hours=2)), **more}


def vehicles_page(records: list[Any], **more: Any) -> dict[str, Any]:
    return {"vehicleResponse": {"vehicles": records}, "moreDataAvailable": False, **more}


Answer = tuple[int, dict[str, str], bytes | Iterator[bytes]]


@dataclass
class RfmsServer:
    """Serves `vehicles` and `statuses` in pages below /api/rfms, by receivedDateTime."""

    vehicles: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    page_size: int = 2
    skew: timedelta = timedelta()
    """How far the server's clock is ahead of `clock`."""
    clock: Callable[[], datetime] = lambda: DAY + timedelta(hours=2)
    token: str | None = None
    with_links: bool = True
    packed: bool = False
    queue: list[Answer] = field(default_factory=list)
    """Answers to the next requests for statuses, before the usual ones."""
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Path, query and headers of each request."""
    tokens_given: int = 0
    address: str = ""

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        kind = path.rpartition("/")[2]
        if kind == "vehiclestatuses" and self.queue:
            return self.queue.pop(0)
        refused = self._refused(kind, query, headers)
        if refused is not None:
            return refused
        if kind == "vehicles":
            found = [vehicle for vehicle in self.vehicles if vehicle["vin"] > query.get("lastVin", "")]
            return self._page(vehicles_page, sorted(found, key=lambda vehicle: vehicle["vin"]), path, query)
        return self._page(statuses_page, self._wanted(query), path, query)

    def _refused(self, kind: str, query: dict[str, str], headers: dict[str, str]) -> Answer | None:
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "invalid_token", f"token {headers.get('authorization')} has expired")
        if headers.get("accept") != f"application/json; rfms={kind}.v4.0":
            return problem(406, "not_acceptable", "unsupported Accept parameter")
        if kind == "vehiclestatuses" and ("starttime" in query) == ("latestOnly" in query):
            return problem(400, "bad_request", "exactly one of starttime and latestOnly is expected")
        return None if kind in ("vehicles", "vehiclestatuses") else problem(404, "not_found", "no such path")

    def _wanted(self, query: dict[str, str]) -> list[dict[str, Any]]:
        if "latestOnly" in query:
            latest = {
                record["vin"]: record for record in sorted(self.statuses, key=lambda r: str(r["createdDateTime"]))
            }
            return list(latest.values())
        found = [record for record in self.statuses if record["receivedDateTime"] >= query["starttime"]]
        return sorted(found, key=lambda record: str(record["receivedDateTime"]))

    def _page(
        self, make: Callable[..., dict[str, Any]], records: list[Any], path: str, query: dict[str, str]
    ) -> Answer:
        first = int(query.get("first", 0))
        more: dict[str, Any] = {"requestServerDateTime": text(self.clock() + self.skew)}
        if len(records) > first + self.page_size:
            more["moreDataAvailable"] = True
            if self.with_links:
                rest = "&".join(f"{name}={value}" for name, value in query.items() if name != "first")
                # Given without the /api that the server is mounted below, as real ones do.
                more["moreDataAvailableLink"] = f"{path.removeprefix('/api')}?{rest}&first={first + self.page_size}"
        return ok(make(records[first : first + self.page_size], **more), packed=self.packed)


def ok(document: Any, *, packed: bool = False) -> Answer:
    content = json.dumps(document).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    return 200, headers, gzip.compress(content) if packed else content


def problem(code: int, error: str, said: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return code, named, json.dumps({"error": error, "error_description": said}).encode()


def slowly(part: bytes, pause_s: float, times: int) -> Iterator[bytes]:
    for _ in range(times):
        yield part
        time.sleep(pause_s)


@contextmanager
def serving(rfms: RfmsServer) -> Iterator[RfmsServer]:
    """Runs the server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            rfms.asked.append((parts.path, query, headers))
            self._send(*rfms.answer(parts.path, query, headers))

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            good = self.headers.get("Authorization") == "Basic Y2xpZW50OnMzY3JldA=="  # client:s3cret
            if not good or sent != "grant_type=client_credentials":
                self._send(*problem(401, "invalid_client", "who is that"))
                return
            rfms.tokens_given += 1
            rfms.token = f"token-{rfms.tokens_given}"
            self._send(*ok({"access_token": rfms.token, "expires_in": 60}))

        def _send(self, code: int, headers: dict[str, str], body: bytes | Iterator[bytes]) -> None:
            self.send_response_only(code)
            for name, value in headers.items():
                self.send_header(name, value)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            try:
                for part in [body] if isinstance(body, bytes) else body:
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                pass  # the client has hung up, as it should
            self.close_connection = not isinstance(body, bytes)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    rfms.address = f"http://127.0.0.1:{server.server_address[1]}/api/rfms"
    try:
        yield rfms
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
