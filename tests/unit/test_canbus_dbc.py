"""DBC files become plans; bad ones are refused with their name."""

import hashlib
from pathlib import Path

import pytest

from pm.canbus.dbc import load_dbc
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
