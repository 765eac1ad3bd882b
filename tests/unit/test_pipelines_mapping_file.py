"""Mapping files: each mistake is named with file, section and key."""

import pytest

from pm.errors import ConfigError
from pm.pipelines.imports.mapping_file import load_mapping

TELEMETRY = """
[vehicle]
fleet = { constant = "north" }
vehicle_ref = "unit"
[time]
column = "at"
[signals.ET1]
EngCoolantTemp = { column = "coolant", unit = "degF" }
"""
EVENTS = """
[vehicle]
vehicle_ref = "unit"
[time]
column = "at"
[event]
kind = { constant = "error" }
code = "code"
"""
ORDERS = """
[source]
name = "shop"
[vehicle]
vehicle_ref = "unit"
[work_order]
work_order_id = { columns = ["unit", "no"], separator = "/" }
opened_at = "opened"
description = "text"
"""
VEHICLES = """
[vehicle]
fleet = { constant = "north" }
vehicle_ref = "unit"
"""
GOOD = {"telemetry": TELEMETRY, "events": EVENTS, "work-orders": ORDERS, "vehicles": VEHICLES}


@pytest.fixture
def load(tmp_path):
    def loaded(kind, text):
        path = tmp_path / "map.toml"
        path.write_text(text, encoding="utf-8")
        return load_mapping(path, kind)

    return loaded


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_mapping_loads_and_names_its_bytes(load, kind):
    made = load(kind, GOOD[kind])
    assert made.kind == kind
    assert len(made.sha256) == 64
    assert load(kind, GOOD[kind] + "\n").sha256 != made.sha256


def test_what_a_section_leaves_open_has_its_default(load):
    orders = load("work-orders", ORDERS)
    assert orders.cells["source_system"].constant == "shop"
    assert orders.cells["line_no"].constant == 1
    assert orders.cells["withdrawn"].constant is False
    assert "odometer_km" not in orders.cells
    telemetry = load("telemetry", TELEMETRY)
    assert {name: cell.constant for name, cell in telemetry.cells.items()} == {
        "channel": "",
        "source_address": -1,
        "destination_address": -1,
    }


def test_the_source_says_zone_and_format_for_every_instant_that_does_not(load):
    text = ORDERS.replace('name = "shop"', 'name = "shop"\ntime_zone = "Europe/Berlin"\ntime_format = "%d.%m.%Y"')
    cell = load("work-orders", text).cells["opened_at"]
    assert (cell.time_zone, cell.format) == ("Europe/Berlin", "%d.%m.%Y")
    own = text.replace(
        'opened_at = "opened"', 'opened_at = { column = "opened", time_zone = "UTC", format = "unix_s" }'
    )
    cell = load("work-orders", own).cells["opened_at"]
    assert (cell.time_zone, cell.format) == ("UTC", "unix_s")


@pytest.mark.parametrize(
    ("kind", "old", "new", "said"),
    [
        ("telemetry", "[time]", "[tme]", r"map.toml for telemetry: expected keys of .*, but got \['tme'\]"),
        ("telemetry", '[time]\ncolumn = "at"', "", r"map.toml: expected a section \[time\], but got none"),
        ("telemetry", 'column = "at"', 'colum = "at"', r"\[time\]: expected keys of .*, but got \['colum'\]"),
        ("telemetry", 'column = "at"', "column = 7", r"\[time\] column: expected a text, but got 7"),
        ("telemetry", 'column = "at"', 'column = "at"\nshift = "3 weeks"', r"\[time\] shift: expected a span of time"),
        (
            "telemetry",
            'column = "at"',
            'column = "at"\ntime_zone = "Mars/Base"',
            r"\[time\] time_zone: expected a zone of the IANA database .*, but got 'Mars/Base'",
        ),
        ("telemetry", 'column = "at"', 'column = "at"\nformat = "unix"', r"\[time\] format: .*unix"),
        ("telemetry", "[time]", '[source]\nformat = "xlsx"\n[time]', r"\[source\] format: expected one of .*'xlsx'"),
        ("telemetry", "[time]", '[source]\ndelimiter = ",,"\n[time]', r"\[source\] delimiter: expected one character"),
        ("telemetry", "[time]", '[source]\nencoding = "utf-7"\n[time]', r"\[source\] encoding: expected one of"),
        ("telemetry", "[time]", "[known_at]\n[time]", r"\[known_at\]: expected column or after, but got neither"),
        ("telemetry", "[time]", '[known_at]\nafter = "-1h"\n[time]', r"\[known_at\] after: expected no negative span"),
        ("telemetry", "[time]", "[where]\nx = []\n[time]", r"\[where\] x: expected a value or a list of values"),
        (
            "telemetry",
            "[time]",
            "[bus]\nsource_address = { constant = 300 }\n[time]",
            r"source_address constant: .*-1 to 255",
        ),
        ("telemetry", 'unit = "degF"', 'units = "degF"', r"\[signals.ET1\] EngCoolantTemp: expected keys of .*'units'"),
        ("telemetry", 'unit = "degF"', "factor = true", r"EngCoolantTemp factor: expected a number, but got True"),
        (
            "telemetry",
            'unit = "degF"',
            'stored_unit = "km", unit = "degF"',
            r"EngCoolantTemp unit: expected a unit of length",
        ),
        ("telemetry", 'unit = "degF"', "spn = 600000", r"spn: expected a suspect parameter number of 19 bits"),
        ("telemetry", 'column = "coolant", ', "constant = 3, ", r"expected keys of .*, but got \['constant'\]"),
        (
            "telemetry",
            "EngCoolantTemp",
            '"Eng Coolant"',
            r"expected names of .* letters, digits and _, but got 'Eng Coolant'",
        ),
        ("telemetry", "[signals.ET1]", "[signals]", r"\[signals.EngCoolantTemp\]"),
        ("telemetry", 'vehicle_ref = "unit"', "", r"\[vehicle\]: expected vehicle_ref or vin, but got \['fleet'\]"),
        (
            "telemetry",
            'fleet = { constant = "north" }',
            'unknown = "add"',
            r"\[vehicle\]: expected fleet where vehicles are added",
        ),
        ("telemetry", "[time]", '[time]\nunknown = "add"', r"\[time\]: expected keys"),
        ("events", "[event]", "[evnt]", r"map.toml for events: expected keys"),
        (
            "events",
            '[event]\nkind = { constant = "error" }\ncode = "code"',
            "",
            r"expected either \[event\] or \[fault\], but got neither",
        ),
        ("events", "[event]", '[fault]\nspn = "s"\nfmi = "f"\n[event]', r"but got \[event\] and \[fault\]"),
        ("events", 'code = "code"', "", r"\[event\]: expected code, but got \['kind'\]"),
        (
            "events",
            'code = "code"',
            'code = { column = "c", constant = "d" }',
            r"code: expected one of column, columns and constant",
        ),
        (
            "events",
            'code = "code"',
            'code = { column = "c", map = { A = 1 } }',
            r"code map: expected a text, but got 1",
        ),
        ("events", 'code = "code"', "code = { columns = [] }", r"code columns: expected a list of column names"),
        ("events", 'code = "code"', "code = 5", r"\[event\] code: expected a table of keys, but got 5"),
        ("events", "[event]", "[signals.X]\n[event]", r"map.toml for events: expected keys of"),
        ("work-orders", 'description = "text"', "", r"\[work_order\]: expected description, but got"),
        ("work-orders", 'name = "shop"', "", r"\[work_order\]: expected source_system"),
        (
            "work-orders",
            'description = "text"',
            'description = "text"\nodometer_km = { column = "odo", unit = "psi" }',
            r"odometer_km unit: expected a unit of length for 'km', but got 'psi'",
        ),
        (
            "work-orders",
            'description = "text"',
            'description = "text"\nplanned = { column = "p", map = { yes = "1" } }',
            r"planned map: expected a flag, but got '1'",
        ),
        (
            "work-orders",
            "[work_order]",
            "[time]\ncolumn = 'x'\n[work_order]",
            r"for work-orders: expected keys of .*'time'",
        ),
        ("vehicles", 'vehicle_ref = "unit"', 'vin = "vin"', r"\[vehicle\]: expected vehicle_ref for vehicles"),
        (
            "vehicles",
            'vehicle_ref = "unit"',
            'vehicle_ref = "unit"\nunknown = "add"',
            r"\[vehicle\] unknown: expected no such key",
        ),
    ],
)
def test_a_mistake_is_named(load, kind, old, new, said):
    assert old in GOOD[kind]
    with pytest.raises(ConfigError, match=said) as raised:
        load(kind, GOOD[kind].replace(old, new, 1))
    assert "map.toml" in str(raised.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"= 3", b"[a", b"x = " + b"[" * 5000])
def test_no_toml_is_refused(tmp_path, content):
    path = tmp_path / "map.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="map.toml: expected TOML"):
        load_mapping(path, "telemetry")


def test_a_missing_file_and_one_too_large_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.toml: expected a readable file"):
        load_mapping(tmp_path / "nowhere.toml", "events")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigError, match="expected at most 1048576 bytes"):
        load_mapping(large, "events")
