"""What a logger misses, hears on which bus, and sends twice."""

from itertools import pairwise

import numpy as np
import pytest

from pm.simulate.components import BODY, BRAKES, ENGINE
from pm.simulate.encode import Frames
from pm.simulate.fleet import FleetConfig, make_vehicle, streams
from pm.simulate.logger import Logger, make_logger
from pm.simulate.uploads import Upload, plan_uploads, with_repeats

CONFIG = FleetConfig(n_vehicles=300, n_days=90)


@pytest.fixture(scope="module")
def made() -> list[tuple[Logger, list[Upload]]]:
    found = []
    for index in range(CONFIG.n_vehicles):
        rng = streams(CONFIG, index)
        vehicle = make_vehicle(CONFIG, index, rng["identity"])
        logger = make_logger(CONFIG, vehicle, rng["logger"])
        found.append((logger, with_repeats(plan_uploads(vehicle, rng["uploads"]), rng["logger"])))
    return found


def test_nothing_is_recorded_within_a_gap_also_where_gaps_overlap() -> None:
    logger = Logger("candump", 1, np.array([10.0, 12.0, 30.0]), np.array([20.0, 15.0, 31.0]))
    times = np.array([9.9, 10.0, 14.0, 17.0, 20.0, 29.9, 30.5, 31.0])
    assert logger.records(times).tolist() == [True, False, False, False, True, True, False, True]


def test_without_gaps_all_is_recorded() -> None:
    assert Logger("candump", 1, np.zeros(0), np.zeros(0)).records(np.array([0.0, 5.0])).all()


def test_two_buses_keep_the_powertrain_apart() -> None:
    ids = np.array([0x18FEEE00 | ENGINE, 0x18FEAE00 | BRAKES, 0x18FEC100 | BODY], np.uint32)
    frames = Frames(np.zeros(3, np.int64), ids, np.zeros(3, np.uint64))
    buses = [Logger("blf", n, np.zeros(0), np.zeros(0)).bus(frames).tolist() for n in (1, 2)]
    assert buses == [[0, 0, 0], [0, 1, 1]]


def test_loggers_differ_as_documented(made) -> None:
    loggers = [logger for logger, _ in made]
    assert [logger.format for logger in loggers[:4]] == ["candump", "blf", "mf4", "candump"]
    assert 0.25 < np.mean([logger.n_buses == 2 for logger in loggers]) < 0.45
    # Once in 30 days over 90 days.
    assert 2.6 < np.mean([len(logger.gap_from_s) for logger in loggers]) < 3.4
    lasts_h = np.concatenate([logger.gap_until_s - logger.gap_from_s for logger in loggers]) / 3600
    assert 1.5 < np.median(lasts_h) < 2.5
    assert lasts_h.max() <= 12.0


def test_some_files_come_twice_and_some_overlap_the_one_before(made) -> None:
    uploads = [upload for _, files in made for upload in files]
    again = [upload for upload in uploads if upload.again_s is not None]
    assert 0.01 < len(again) / len(uploads) < 0.03
    assert all(upload.again_s >= upload.uploaded_s + 3600 for upload in again)
    overlaps = [later.from_day < earlier.until_day for _, files in made for earlier, later in pairwise(files)]
    assert 0.02 < np.mean(overlaps) < 0.045
    assert all(files[0].from_day >= 0 for _, files in made)
