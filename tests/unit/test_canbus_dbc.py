"""DBC files become plans; bad ones are refused with their name."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cantools
import polars as pl
import pytest

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
SUBSET = PROJECT / "dbc" / "j1939_open_subset.dbc"

HEAD = 'VERSION ""\nNS_ :\nBS_:\nBU_:\n'
J1939 = (
    'BA_DEF_ SG_ "SPN" INT 0 524287;\n'
    'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";\n'
    'BA_DEF_DEF_ "SPN" 0;\nBA_DEF_DEF_ "VFrameFormat" "J1939PG";\n'
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def test_shipped_file_gives_pgn_and_spn() -> None:
    database = load_dbc([SUBSET])
    assert len(database.messages) == 44
    assert sum(len(message.signals) for message in database.messages) == 278
    engine = database.message("EEC1")
    assert (engine.pgn, engine.is_extended, engine.length) == (61444, True, 8)
    speed = next(signal for signal in engine.signals if signal.name == "EngSpeed")
    assert (speed.start, speed.length, speed.scale, speed.unit, speed.spn) == (24, 16, 0.125, "rpm", 190)
    assert database.message("TSC1").pgn == 0
    assert database.sha256 == (hashlib.sha256(SUBSET.read_bytes()).hexdigest(),)


def test_sources_file_names_every_dbc_with_its_hash() -> None:
    import tomllib

    listed = tomllib.loads((PROJECT / "dbc" / "SOURCES.toml").read_text())["file"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (PROJECT / "dbc").glob("*.dbc")}
    assert {entry["name"]: entry["sha256"] for entry in listed} == found
    assert all(entry["origin"] and entry["licence"] for entry in listed)


def test_text_and_unmasked_signals_are_marked() -> None:
    database = load_dbc([SUBSET])
    vin = database.message("VI").signals[0]
    assert vin.is_text
    unmasked = {s.name for m in database.messages for s in m.signals if not s.is_masked}
    assert {"EngOverrideCtrlMode", "DTC1_FMI", "IdentityNumber", "SrcAddrCtrlDvcEngCtrl"} <= unmasked
    assert "EngSpeed" not in unmasked


def test_message_without_j1939_format_has_no_pgn(tmp_path: Path) -> None:
    path = write(tmp_path, "plain.dbc", 'BO_ 2566844926 A: 8 X\n SG_ a : 0|8@1+ (1,0) [0|0] "" X\n')
    plan = load_dbc([path]).message("A")
    assert (plan.pgn, plan.is_extended, plan.frame_id) == (None, True, 0x18FEF1FE)


def test_first_file_wins_and_the_clash_is_told(tmp_path: Path) -> None:
    first = write(tmp_path, "a.dbc", 'BO_ 256 A: 8 X\n SG_ s : 0|8@1+ (1,0) [0|0] "" X\n')
    second = write(tmp_path, "b.dbc", 'BO_ 256 B: 8 X\n SG_ s : 0|8@1+ (2,0) [0|0] "" X\n')
    third = write(tmp_path, "c.dbc", 'BO_ 257 A: 8 X\n SG_ s : 0|8@1+ (3,0) [0|0] "" X\n')
    database = load_dbc([first, second, third])
    assert [message.name for message in database.messages] == ["A"]
    assert database.clashes == (
        "b.dbc B: id 100 is already A of a.dbc, which is used",
        "c.dbc A: the name A is already A of a.dbc, which is used",
    )


def test_same_pgn_from_another_address_clashes(tmp_path: Path) -> None:
    body = 'BO_ {} {}: 8 X\n SG_ s : 0|8@1+ (1,0) [0|0] "" X\n'
    first = write(tmp_path, "a.dbc", body.format(0x98FEF1FE, "A") + J1939)
    second = write(tmp_path, "b.dbc", body.format(0x8CFEF100, "B") + J1939)
    assert "PGN 65265" in load_dbc([first, second]).clashes[0]


SIGNAL = ' SG_ {} : {}|{}@1{} ({},{}) [0|0] "" X\n'


def signal(name: str, start: int = 0, length: int = 8, sign: str = "+", scale: str = "1", offset: str = "0") -> str:
    return SIGNAL.format(name, start, length, sign, scale, offset)


def loaded(folder: Path, text: str) -> SignalDatabase:
    return load_dbc([write(folder, "x.dbc", text)])


def test_destination_is_no_part_of_a_pgn(tmp_path: Path) -> None:
    text = f"BO_ {0x8C00FEFE} TSC: 8 X\n{signal('s')}{J1939}"  # PDU1 with the default destination 0xFE
    assert loaded(tmp_path, text).message("TSC").pgn == 0


def test_standard_identifier_has_no_pgn_whatever_the_default_format(tmp_path: Path) -> None:
    assert loaded(tmp_path, f"BO_ 257 A: 8 X\n{signal('s')}{J1939}").message("A").pgn is None


def test_diagnostics_in_j1939_are_not_masked(tmp_path: Path) -> None:
    # 29-bit OBD-II of a J1939 file: 0xFF is a value of a byte there.
    text = f"BO_ {0x98DAF110} OBD: 8 X\n{signal('s')}BO_ {0x98FEF1FE} A: 8 X\n{signal('t')}{J1939}"
    database = loaded(tmp_path, text)
    assert (database.message("OBD").pgn, database.message("OBD").signals[0].is_masked) == (0xDA00, False)
    assert database.message("A").signals[0].is_masked


@pytest.mark.parametrize(("kind", "default"), [("INT 0 524287", "190"), ("STRING", '"190"'), ("FLOAT 0 9", "190.5")])
def test_spn_is_a_number_or_nothing(tmp_path: Path, kind: str, default: str) -> None:
    text = f'BO_ 1 A: 8 X\n{signal("s")}BA_DEF_ SG_ "SPN" {kind};\nBA_DEF_DEF_ "SPN" {default};\n'
    assert loaded(tmp_path, text).message("A").signals[0].spn == (190 if kind.startswith("INT") else None)


def test_long_names_become_identifiers_and_reach_the_multiplexer(tmp_path: Path) -> None:
    text = (
        f"BO_ 1 A: 8 X\n{signal('mux M')}{signal('b m1', 8)}"
        'BA_DEF_ SG_ "SystemSignalLongSymbol" STRING ;\nBA_DEF_ BO_ "SystemMessageLongSymbol" STRING ;\n'
        'BA_DEF_DEF_ "SystemSignalLongSymbol" "";\nBA_DEF_DEF_ "SystemMessageLongSymbol" "";\n'
        'BA_ "SystemSignalLongSymbol" SG_ 1 mux "2nd selector [°]";\n'
        'BA_ "SystemMessageLongSymbol" BO_ 1 "A message-name beyond 32 characters";\n'
    )
    (message,) = loaded(tmp_path, text).messages
    assert message.name == "A_message_name_beyond_32_characters"
    assert [s.name for s in message.signals] == ["_2nd_selector____", "b"]
    assert message.signals[1].multiplexer_signal == "_2nd_selector____"


def test_name_that_comes_twice_gets_a_number(tmp_path: Path) -> None:
    database = loaded(tmp_path, f"BO_ 1 A: 8 X\n{signal('s')}{signal('s', 8)}{signal('time', 16)}{signal('time_', 24)}")
    columns = [s.column for s in database.message("A").signals]
    assert columns == ["s", "s_2", "time_", "time__2"]
    assert [clash.partition(": ")[2] for clash in database.clashes] == [
        "signal s: there is one of this name already, so it is called s_2",
        "signal time_: there is one of this name already, so it is called time__2",
    ]


def test_extended_multiplexing_by_ranges(tmp_path: Path) -> None:
    text = (
        f"BO_ 1 A: 8 X\n{signal('top M')}{signal('page m3M', 8)}{signal('x m0', 16)}"
        "SG_MUL_VAL_ 1 page top 3-4, 9-9;\nSG_MUL_VAL_ 1 x page 0-2, 250-300;\n"
        'CM_ "SG_MUL_VAL_ 1 x top 7-7;";\nVAL_ 1 top 5 "none" 9 "more" ;\n'
    )
    top, page, x = loaded(tmp_path, text).message("A").signals
    assert (top.is_multiplexer, top.multiplexer_signal, top.known_ids) == (True, None, (3, 4, 5, 9))
    assert (page.multiplexer_signal, page.multiplexer_ids) == ("top", (3, 4, 9))
    assert (x.multiplexer_signal, x.multiplexer_ids) == ("page", (0, 1, 2, *range(250, 256)))
    assert page.known_ids == x.multiplexer_ids


def test_multiplexer_of_nothing_is_none(tmp_path: Path) -> None:
    (only,) = loaded(tmp_path, f"BO_ 1 A: 8 X\n{signal('m M')}").message("A").signals
    assert not only.is_multiplexer


@pytest.mark.parametrize(
    ("signals", "rest", "said"),
    [
        (signal("a m0M") + signal("b m0M", 8), "SG_MUL_VAL_ 1 a b 0-0;\nSG_MUL_VAL_ 1 b a 0-0;\n", "not inside itself"),
        (signal("a m0") + signal("m M", 8), "SG_MUL_VAL_ 1 a none 0-0;\n", "multiplexer none"),
        (signal("a", 0, 24, "-"), "SIG_VALTYPE_ 1 a : 1;\n", "float of 16, 32 or 64 bits, but got 24"),
        (signal("a", 3, 100), "", "64 bits or whole bytes, but got 100"),
        (signal("a", 500, 16), "", "bits below 512, but got 500 to 515"),
        (signal("a", scale="1e999"), "", "finite scale"),
        (signal("a", offset="9" * 400), "", "finite scale"),
    ],
)
def test_impossible_signal_is_left_out_and_told(tmp_path: Path, signals: str, rest: str, said: str) -> None:
    database = loaded(tmp_path, f"BO_ 1 A: 8 X\n{signals}{signal('fine', 40)}{rest}")
    assert "fine" in {s.name for s in database.message("A").signals}
    assert "a" not in {s.name for s in database.message("A").signals}
    assert any("x.dbc A: signal a left out" in clash and said in clash for clash in database.clashes)


def test_odd_but_possible_declarations_are_taken(tmp_path: Path) -> None:
    text = (
        'BO_ 1 Empty: 0 X\n\nBO_ 2 A: 2 X\n SG_ r : 0|8@1+ (0,5) [9|-9] "" X\n'
        f"{signal('far', 20, 16)}{signal('half', 0, 16, '-')}{signal('half_over', 4, 16)}"
        "SIG_VALTYPE_ 2 half : 1;\n"
    )
    database = loaded(tmp_path, text)
    assert (database.message("Empty").length, database.message("Empty").signals, database.clashes) == (0, (), ())
    found = {s.name: s for s in database.message("A").signals}
    assert (found["r"].scale, found["r"].offset, found["r"].minimum, found["r"].maximum) == (0.0, 5.0, 9.0, -9.0)
    assert (found["half"].is_float, found["far"].start, set(found)) == (True, 20, {"r", "far", "half", "half_over"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BO_ 1 A: 8000000000 X\n", "0 to 4096 bytes"),
        ("BO_ 1 A: -8 X\n", "0 to 4096 bytes"),
        ("BO_ 1 A: 8 X\n" + signal("s", 0, 8_000_000_000), r"0\|8000000000"),
        ("BO_ 1 A: 8 X\n" + signal("s", -5), r"-5\|8"),
        ("BO_ 1 A: 8 X\n" + signal("m M") + "SG_MUL_VAL_ 1 s m 0-4294967295;\n", "4294967296"),
        ("BO_ 1 A: 8 X\n" + signal("m M") + "SG_MUL_VAL_ 1 s m 0-\n", "another form"),
    ],
)
def test_numbers_beyond_any_bus_are_refused(tmp_path: Path, text: str, said: str) -> None:
    # The parser alone would take all memory of the machine for some of these.
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, text)


def test_too_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.dbc"
    with path.open("wb") as stream:
        stream.truncate((1 << 25) + 1)
    with pytest.raises(ConfigError, match="expected at most 33554432 bytes"):
        load_dbc([path])


def test_texts_of_the_component_identification(tmp_path: Path) -> None:
    names = [("Make", 586), ("Model", 587), ("Serial", 588), ("Unit", 233)]
    text = f"BO_ {0x98FEEBFE} CI: 20 X\n" + "".join(signal(name, 40 * n, 40) for n, (name, _) in enumerate(names))
    text += J1939 + "".join(f'BA_ "SPN" SG_ {0x98FEEBFE} {name} {spn};\n' for name, spn in names)
    database = loaded(tmp_path, text)
    assert [(s.is_text, s.text_part, s.is_masked) for s in database.message("CI").signals] == [
        (True, n, False) for n in range(4)
    ]


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"CMMNS*6X1u17D1500000000*79880000*U7*", ["CMMNS", "6X1u17D1500000000", "79880000", "U7"]),
        (b"SYNER*SSS-MaxxForce*12110004 ", ["SYNER", "SSS-MaxxForce", "12110004", None]),
        (b"**S\xe9r\x01ial*", [None, None, r"S\xe9r\x01ial", None]),
        (b"\xff\xff\xff\xff\xff*\xff\xff\xff*", [None] * 4),
    ],
)
def test_component_identification_is_read_by_its_delimiters(tmp_path: Path, content: bytes, want: list[str]) -> None:
    names = [("Make", 586), ("Model", 587), ("Serial", 588), ("Unit", 233)]
    text = f"BO_ {0x98FEEBFE} CI: 20 X\n" + "".join(signal(name, 40 * n, 40) for n, (name, _) in enumerate(names))
    text += J1939 + "".join(f'BA_ "SPN" SG_ {0x98FEEBFE} {name} {spn};\n' for name, spn in names)
    got = decoded_transport(tmp_path, loaded(tmp_path, text), [(0xFEEB, content)])["CI"]
    assert got.select(name for name, _ in names).rows() == [tuple(want)]


def test_vehicle_identification_that_changes(tmp_path: Path) -> None:
    vins = [
        b"1XKYDP9X7FJ469058*",
        b"WDB9340321L123456*",
        b"\xff" * 17 + b"*",
        b"SHORT*garbage",
        b"A\xc4\x00B-17 OR MORE CHARACTERS*",
    ]
    got = decoded_transport(tmp_path, load_dbc([SUBSET]), [(0xFEEC, vin) for vin in vins])["VI"]
    assert got["VehicleIdentificationNumber"].to_list() == [
        "1XKYDP9X7FJ469058", "WDB9340321L123456", None, "SHORT", r"A\xc4\x00B-17 OR MORE CHARACTERS",
    ]  # fmt: skip


def decoded_transport(
    folder: Path, database: SignalDatabase, messages: list[tuple[int, bytes]]
) -> dict[str, pl.DataFrame]:
    """What `database` makes of these PGNs and payloads, sent by BAM one after the other."""
    lines = []
    for number, (pgn, content) in enumerate(messages):
        n_packets = -(-len(content) // 7)
        head = b"\x20" + len(content).to_bytes(2, "little") + bytes([n_packets, 0xFF]) + pgn.to_bytes(3, "little")
        frames = [("1CECFF00", head)]
        for packet in range(n_packets):
            piece = content[7 * packet : 7 * packet + 7].ljust(7, b"\xff")
            frames.append(("1CEBFF00", bytes([packet + 1]) + piece))
        at = 1_600_000_000 + number
        lines += [f"({at}.{n:06d}) can0 {can_id}#{data.hex()}\n" for n, (can_id, data) in enumerate(frames)]
    (folder / "a.log").write_text("".join(lines))
    batches = list(LogDecoder(database).batches(open_log(folder / "a.log")))
    return {name: frame for batch in batches for name, frame in batch.signals.items()}


def test_signal_named_like_a_row_column_gets_another_column(tmp_path: Path) -> None:
    path = write(tmp_path, "t.dbc", 'BO_ 1 A: 8 X\n SG_ time : 0|8@1+ (1,0) [0|0] "" X\n')
    signal = load_dbc([path]).message("A").signals[0]
    assert (signal.name, signal.column) == ("time", "time_")


def test_comments_in_windows_encoding_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.dbc"
    path.write_bytes((HEAD + 'BO_ 1 A: 8 X\n SG_ s : 0|8@1+ (1,0) [0|0] "°C" X\n').encode("cp1252"))
    assert load_dbc([path]).message("A").signals[0].unit == "°C"


def test_unknown_message_is_refused() -> None:
    with pytest.raises(ConfigError, match="NOPE"):
        load_dbc([SUBSET]).message("NOPE")


def test_no_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least one"):
        load_dbc([])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "bad.dbc"),
        (b"\x00\xff\x13garbage", "bad.dbc"),
        (b"BO_ x", "bad.dbc"),
        (HEAD.encode(), "at least one message"),
    ],
)
def test_file_that_does_not_parse_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.dbc"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_dbc([path])


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.dbc.*No such file"):
        load_dbc([tmp_path / "absent.dbc"])


def test_signals_of_no_message_are_left_out(tmp_path: Path) -> None:
    lonely = 'BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 Vector__XXX\n SG_ x : 0|8@1+ (1,0) [0|0] "" X\n'
    path = write(tmp_path, "i.dbc", lonely + '\nBO_ 1 A: 8 X\n SG_ s : 0|8@1+ (1,0) [0|0] "" X\n')
    assert [message.name for message in load_dbc([path]).messages] == ["A"]


@pytest.mark.parametrize("n_bytes", [100, 2990, 3000, 30000])
def test_truncated_file_is_refused(tmp_path: Path, n_bytes: int) -> None:
    # cantools reads each of these without a complaint and loses what was cut.
    path = tmp_path / "cut.dbc"
    path.write_bytes(SUBSET.read_bytes()[:n_bytes])
    with pytest.raises(ConfigError, match=r"cut\.dbc"):
        load_dbc([path])


@pytest.mark.parametrize("name", ["canmod-gps", "css_OBD-v4.4", "css_canedge-internal-can9", "tp_nmea", "tp_uds"])
def test_real_files_give_every_signal_that_cantools_sees(shared: Callable[[str], Path], name: str) -> None:
    path = shared(f"can/dbc/{name}.dbc")
    database = load_dbc([path])
    peer: Any = cantools.database.load_file(path, strict=False)
    got = {(m.name, s.name): (s.start, s.length, s.multiplexer_signal) for m in database.messages for s in m.signals}
    want = {(m.name, s.name): (s.start, s.length, s.multiplexer_signal) for m in peer.messages for s in m.signals}
    assert got == want
    for plan, message in zip(database.messages, peer.messages, strict=True):
        parents = {s.multiplexer_signal for s in message.signals}
        assert {s.name for s in plan.signals if s.is_multiplexer} == parents - {None}
        for s, other in zip(plan.signals, message.signals, strict=True):
            if s.multiplexer_signal is not None:
                largest = (1 << message.get_signal_by_name(s.multiplexer_signal).length) - 1
                # tp_uds names the value 256 of a multiplexer of 8 bits.
                assert s.multiplexer_ids == tuple(sorted(n for n in other.multiplexer_ids if n <= largest))
    assert database.clashes == ()
