"""Column names for people, from DBC names and units."""

import pytest

from pm.store.readable_names import NAME_BYTES, readable_name, readable_names, snake_case, unit_suffix


@pytest.mark.parametrize(
    ("unit", "suffix"),
    [
        ("degC", "c"), ("°C", "c"), ("deg C", "c"), ("degF", "f"), ("K", "k"), ("%", "percent"), ("rpm", "rpm"),
        ("1/min", "rpm"), ("r/min", "rpm"), ("km/h", "km_h"), ("kph", "km_h"), ("kPa", "kpa"), ("bar", "bar"),
        ("V", "v"), ("volts", "v"), ("mA", "ma"), ("L/h", "l_h"), ("l/h", "l_h"), ("km/l", "km_l"), ("Nm", "nm"),
        ("N·m", "nm"), ("m/s^2", "m_s2"), ("m/s²", "m_s2"), ("g/s", "g_s"), ("grams/sec", "g_s"), ("minutes", "min"),
        ("°", "deg"), ("deg/s", "deg_s"), ("%/rpm", "percent_rpm"), ("deg before TDC", "deg_before_tdc"),
        ("ratio", "ratio"), ("", ""), (" ", ""), ("1", ""), ("-", ""), ("None", ""), ("N/A", ""),
        ("0 = off, 1 = on, 2 = error", ""),
    ],
)  # fmt: skip
def test_a_unit_becomes_the_end_of_a_name(unit: str, suffix: str) -> None:
    assert unit_suffix(unit) == suffix


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("EngCoolantTemp", "eng_coolant_temp"), ("EngOilTemp1", "eng_oil_temp1"), ("TSC1TransRate", "tsc1_trans_rate"),
        ("ASRBrakeCtrlActive", "asr_brake_ctrl_active"),
        ("Aft1DPFDifferentialPressure", "aft1_dpf_differential_pressure"),
        ("Aftertreatment1IntakeNOx", "aftertreatment1_intake_nox"), ("S01PID0C_EngineRPM", "s01pid0c_engine_rpm"),
        ("already_snake_case", "already_snake_case"), ("Öltemperatur", "oltemperatur"),
        ("a  b--c", "a_b_c"), ("温度", ""),
    ],
)  # fmt: skip
def test_a_name_becomes_words(name: str, words: str) -> None:
    assert snake_case(name) == words


@pytest.mark.parametrize(
    ("signal", "unit", "name"),
    [
        ("EngCoolantTemp", "degC", "eng_coolant_temp_c"),
        ("WheelBasedVehicleSpeed", "km/h", "wheel_based_vehicle_speed_km_h"),
        ("TransCurrentGear", "gear", "trans_current_gear"),
        ("EngHours", "h", "eng_hours"),
        ("coolant_level_pct", "%", "coolant_level_pct"),
        ("EngineRPM", "1/min", "engine_rpm"),
        ("EBSBrakeSwitch", "", "ebs_brake_switch"),
        ("2ndGear", "", "_2nd_gear"),
        ("温度", "°C", "signal_c"),
        ("S" * 80, "km/h", "s" * 58 + "_km_h"),
    ],
)
def test_a_readable_name_ends_in_its_unit(signal: str, unit: str, name: str) -> None:
    assert readable_name(signal, unit) == name


def test_names_that_fall_together_are_numbered_before_their_unit() -> None:
    signals = [
        ("Temp", "degC"),
        ("temp", "°C"),
        ("TEMP", "degF"),
        ("Time", ""),
        ("time", ""),
        ("oil_pct", "%"),
        ("OilPct", "%"),
    ]
    assert readable_names(signals, {"time"}) == (
        "temp_c", "temp_2_c", "temp_f", "time_2", "time_3", "oil_pct", "oil_pct_2",
    )  # fmt: skip


def test_many_long_names_stay_apart_and_fit() -> None:
    signals = [("S" * 70 + str(number), "kPa") for number in range(120)]
    names = readable_names(signals)
    assert len(set(names)) == 120
    assert {len(name.encode()) for name in names} <= set(range(NAME_BYTES - 3, NAME_BYTES + 1))
    assert all(name.endswith("_kpa") for name in names)
    assert readable_names(signals) == names


def test_a_signal_that_comes_later_leaves_the_names_before_it() -> None:
    signals = [("A", "V"), ("a", "V"), ("B", "")]
    assert readable_names([*signals, ("A_2", "V")])[:3] == readable_names(signals)
