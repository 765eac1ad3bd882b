"""Trouble codes of every failure mode, from its symptom to the DM1 that the product reads."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pm.canbus.dbc import load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.features.quantities import COMPONENT_SPNS
from pm.settings import read_settings
from pm.simulate.candump import candump_bytes
from pm.simulate.codes import dm1_frames, draw_episodes
from pm.simulate.components import COMPONENTS, N_CYLINDERS, Code
from pm.simulate.fleet import FleetConfig, make_vehicle, streams
from pm.simulate.operation import plan_sessions

CONFIG = FleetConfig(n_vehicles=1, n_days=40)
MODES = [(component, mode) for component in COMPONENTS for mode in component.modes]


def read_codes(folder: Path, mode_name: str, level: float) -> Counter[tuple[int, int, int]]:
    """How often the product reads which (source, SPN, FMI) of a truck with one constant symptom."""
    rng = streams(CONFIG, 0)
    vehicle = make_vehicle(CONFIG, 0, rng["identity"])
    sessions = plan_sessions(CONFIG, vehicle, rng["operation"])
    symptoms = {mode.name: np.full(CONFIG.n_days, level * (mode.name == mode_name)) for _, mode in MODES}
    episodes = draw_episodes(CONFIG, sessions, symptoms, [], np.random.default_rng(3))
    frames = dm1_frames(CONFIG, sessions, episodes)
    path = folder / "dm1.log"
    path.write_bytes(candump_bytes(frames, np.zeros(len(frames), np.uint8)))
    decoder = LogDecoder(load_dbc(read_settings({}).dbc_files))
    faults = pl.concat([batch.faults for batch in decoder.batches(open_log(path))])
    return Counter(faults.select("source_address", "spn", "fmi").iter_rows())


@pytest.mark.parametrize(("component", "mode"), MODES, ids=[mode.name for _, mode in MODES])
def test_the_codes_of_every_mode_reach_dm1(component, mode, tmp_path) -> None:
    quiet, worn = read_codes(tmp_path, mode.name, 0.0), read_codes(tmp_path, mode.name, 1.4)
    for code in mode.codes[1:]:
        places = range(N_CYLINDERS if code.is_per_cylinder else 1)
        meant = [(code.source_address, code.spn + place, code.fmi) for place in places]
        # Spurious codes come without a symptom too, for a day or some.
        assert sum(worn[each] for each in meant) > 10 + 2 * sum(quiet[each] for each in meant)


def test_the_codes_of_a_mode_are_among_the_spns_of_its_component() -> None:
    for component, mode in MODES:
        for code in mode.codes:
            last = code.of_cylinder(N_CYLINDERS - 1)
            assert {code.spn, last.spn} <= COMPONENT_SPNS[component.name], mode.name


def test_no_two_modes_set_the_same_code() -> None:
    codes = [
        code.of_cylinder(place)
        for _, mode in MODES
        for code in mode.codes
        for place in range(N_CYLINDERS if code.is_per_cylinder else 1)
    ]
    shared = {code for code in codes if codes.count(code) > 1}
    assert shared == set()


def test_a_code_of_a_cylinder_counts_up_from_the_first() -> None:
    assert Code(0, 651, 7, True).of_cylinder(2) == Code(0, 653, 7)
    assert Code(0, 157, 18).of_cylinder(2) == Code(0, 157, 18)


def test_one_injector_at_a_time_is_named(tmp_path) -> None:
    named = {spn for _, spn, fmi in read_codes(tmp_path, "injector", 1.4) if 651 <= spn <= 656 and fmi == 7}
    assert 1 <= len(named) <= 2
