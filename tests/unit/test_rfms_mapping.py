"""The rFMS mapping file: what it must say."""

from pathlib import Path

import pytest
from rfms_server import ready_mapping

from pm.canbus.dbc import load_dbc
from pm.errors import ConfigError
from pm.features.quantities import QUANTITIES
from pm.pipelines.rfms.mapping import load_mapping
from pm.settings import read_settings

HEAD = 'format = "rfms-4.0"\nchannel = "rfms"\nmaximum_class_columns = 10\n'
NUMBER = HEAD + '[[number]]\nfield = "x"\n'


def load(folder: Path, text: str) -> None:
    path = folder / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    load_mapping(path, load_dbc(read_settings({}).dbc_files))


def test_the_ready_mapping_feeds_features() -> None:
    targets = set(ready_mapping().signals)
    fed = {quantity.name for quantity in QUANTITIES if targets & set(quantity.sources)}
    assert fed == {
        "coolant_c", "brake_1_kpa", "brake_2_kpa", "engine_rpm", "speed_kmh", "ambient_c", "odometer_km", "engine_h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("format =", "expected readable TOML"),
        ('format = "rfms-5.0"', 'expected format = "rfms-4.0", but got \'rfms-5.0\''),
        (HEAD.replace('"rfms"', "7"), "channel: expected a text, but got 7"),
        (HEAD.replace("10", "0"), "maximum_class_columns: expected a whole number from 1, but got 0"),
        (HEAD + "left_out_states = [1]", "left_out_states: expected a list of texts"),
        (HEAD + "[number]\nx = 1", r"expected \[\[number\]\], but got dict"),
        (NUMBER, r"\[\[number\]\] 1: expected keys .* missing \['to', 'unit'\]"),
        (NUMBER + 'to = "rfms_a.b"\nunit = "1"\nscale = 2', r"unknown \['scale'\]"),
        (NUMBER + 'to = "rfms_a.b"\nunit = "1"\nfactor = "2"', "factor: expected float, but got '2'"),
        (NUMBER + 'to = "rfms_a.b"\nunit = "1"\nfactor = true', "factor: expected float, but got True"),
        (NUMBER + 'to = "ET1.EngCoolantTemp"\nunit = "K"', "the unit 'degC' of the DBC file, but got 'K'"),
        (NUMBER + 'to = "ET1.Nothing"\nunit = "K"', "signal of the DBC files, but got ET1.Nothing"),
        (NUMBER + 'to = "NOPE.Nothing"\nunit = "K"', "message NOPE: expected one of"),
        (HEAD + '[[text]]\nfield = "x"\nto = "ET1.State"', "expected rfms_<message>.<signal>, but got 'ET1.State'"),
        (HEAD + '[[text]]\nfield = "x"\nto = "rfms_a.b c"', "expected rfms_<message>.<signal>"),
        (HEAD + '[[text]]\nfield = "x"\nto = "rfms_a.b"\n[[text]]\nfield = "y"\nto = "rfms_a.b"', "one field a signal"),
        (HEAD + '[[classes]]\nfield = "x"\nto = "rfms-a.b"', "message rfms-a: expected one of"),
    ],
)  # fmt: skip
def test_what_a_mapping_must_not_say(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, text)


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected readable TOML"):
        load_mapping(tmp_path / "none.toml", load_dbc(read_settings({}).dbc_files))
