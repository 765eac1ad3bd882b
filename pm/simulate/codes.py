"""Diagnostic trouble codes: which are active when, and the DM1 messages that say so.

What belongs here: code episodes from symptoms, sensor faults and nothing at all (spurious and
nuisance codes), and their DM1 frames (SAE J1939-73, 5.7.1).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.j1939 import PGN_DM1
from pm.simulate.components import BODY, BRAKES, COMPONENTS, ENGINE, EXHAUST, N_CYLINDERS, NUISANCE_CODES, Code
from pm.simulate.encode import Frames, join
from pm.simulate.fleet import DAY_S, FleetConfig
from pm.simulate.operation import Sessions
from pm.simulate.sensor_faults import SensorFault
from pm.simulate.transport import broadcast

ACTIVE_PERIOD_S: Final = 720.0
HEARTBEAT_EVERY: Final = 6
"""Without an active code the engine says so (SPN 0, FMI 0) at every sixth turn."""
_DM1_ID: Final = 0x18FE_CA00
_OFFSET_S: Final = 45.0
_SPURIOUS_A_DAY: Final = 0.012
_NUISANCE_A_DAY: Final = 0.004


@dataclass(frozen=True)
class Episode:
    """One code active for some time; seconds count from the fleet's start."""

    code: Code
    from_s: float
    until_s: float
    occurrence_count: int


def draw_episodes(config: FleetConfig, sessions: Sessions, symptoms: dict[str, NDArray[np.float64]],
                  sensor_faults: list[SensorFault], rng: np.random.Generator) -> list[Episode]:  # fmt: skip
    """Every code episode of one truck, in time order, occurrence counts included."""
    spans: list[tuple[float, float, Code]] = []
    for component in COMPONENTS:
        for mode in component.modes:
            cylinder = int(rng.integers(N_CYLINDERS))
            codes = tuple(code.of_cylinder(cylinder) for code in mode.codes)
            spans += _from_symptom(symptoms[mode.name], codes, sessions, rng)
    every_code = [code for component in COMPONENTS for mode in component.modes for code in mode.codes[:2]]
    for day in np.flatnonzero(rng.random(config.n_days) < _SPURIOUS_A_DAY).tolist():
        code = every_code[int(rng.integers(len(every_code)))].of_cylinder(int(rng.integers(N_CYLINDERS)))
        spans.append((day * DAY_S, (day + int(rng.integers(1, 5))) * DAY_S, code))
    for day in np.flatnonzero(rng.random(config.n_days) < _NUISANCE_A_DAY).tolist():
        code = NUISANCE_CODES[int(rng.integers(len(NUISANCE_CODES)))]
        spans.append((day * DAY_S, (day + int(rng.integers(1, 40))) * DAY_S, code))
    spans += [(f.from_day * DAY_S, f.until_day * DAY_S, f.code) for f in sensor_faults if f.code]
    return _count(sorted(spans, key=lambda span: (span[0], span[1], span[2].spn, span[2].fmi)))


def _from_symptom(symptom: NDArray[np.float64], codes: tuple[Code, ...], sessions: Sessions,
                  rng: np.random.Generator) -> list[tuple[float, float, Code]]:  # fmt: skip
    """Intermittent first (part of a day, the mild code), then all day long, then the severe code too."""
    spans: list[tuple[float, float, Code]] = []
    shy = float(rng.lognormal(0, 0.35))
    for day in np.flatnonzero(symptom > 0.2).tolist():
        level = float(symptom[day]) / shy
        chance, which = rng.random(), rng.random()
        of_day = np.flatnonzero(sessions.day == day)
        if len(of_day) == 0 or chance > np.clip((level - 0.25) / 0.75, 0.0, 0.97):
            continue
        if level < 0.75:
            one = of_day[int(which * len(of_day))]
            spans.append((float(sessions.start_s[one]), float(sessions.end_s[one]), codes[0]))
            continue
        spans.append((day * DAY_S, (day + 1.0) * DAY_S, codes[1]))
        if level > 1.05 and which < 0.5:
            spans.append((day * DAY_S, (day + 1.0) * DAY_S, codes[2]))
    return spans


def _count(spans: list[tuple[float, float, Code]]) -> list[Episode]:
    seen: dict[Code, int] = {}
    episodes = []
    for start, end, code in spans:
        seen[code] = min(seen.get(code, 0) + 1, 126)
        episodes.append(Episode(code, start, end, seen[code]))
    return episodes


def dm1_frames(config: FleetConfig, sessions: Sessions, episodes: list[Episode]) -> Frames:
    """DM1 of every controller: every 12 minutes while it has an active code, the engine's heartbeat otherwise."""
    n = np.maximum(np.ceil((sessions.duration_s - _OFFSET_S) / ACTIVE_PERIOD_S), 0).astype(np.int64)
    session = np.repeat(np.arange(len(n)), n)
    turn = np.arange(len(session)) - np.repeat(np.cumsum(n) - n, n)
    # Slower than the session's first minutes, so that announcements of different messages never interleave.
    time_s = sessions.start_s[session] + _OFFSET_S + ACTIVE_PERIOD_S * turn
    parts = []
    for place, source in enumerate((ENGINE, BRAKES, BODY, EXHAUST)):
        time_us = np.rint((config.start_s + time_s + 0.5 * place) * 1e6).astype(np.int64)
        mine = [episode for episode in episodes if episode.code.source_address == source]
        parts += _controller(source, time_us, time_s, turn, mine)
    return join(parts)


def _controller(source: int, time_us: NDArray[np.int64], time_s: NDArray[np.float64], turn: NDArray[np.int64],
                episodes: list[Episode]) -> list[Frames]:  # fmt: skip
    """Which codes are active changes at the edges of episodes only; all turns between two edges say the same."""
    starts = np.array([episode.from_s for episode in episodes])
    ends = np.array([episode.until_s for episode in episodes])
    edges = np.concatenate([[-np.inf], np.unique(np.concatenate([starts, ends]))])
    span = np.searchsorted(edges, time_s, side="right") - 1
    silent = np.ones(len(time_s), np.bool_)
    parts = []
    for number in np.unique(span).tolist():
        active = np.flatnonzero((starts <= edges[number]) & (ends > edges[number])).tolist()
        if active:
            at = slice(*np.searchsorted(span, [number, number + 1]).tolist())
            silent[at] = False
            # Two episodes of one code at a time are one code: the later count stands.
            codes = {episodes[column].code: episodes[column] for column in active}
            parts.append(_send(source, list(codes.values()), time_us[at]))
    if source == ENGINE:
        parts.append(_send(source, [], time_us[silent & (turn % HEARTBEAT_EVERY == 0)]))
    return parts


def _send(source: int, active: list[Episode], time_us: NDArray[np.int64]) -> Frames:
    payload = dm1_payload(active)
    if len(payload) > 8:
        return broadcast(PGN_DM1, source, payload, time_us)
    word = np.uint64(int.from_bytes(payload, "little"))
    ids = np.full(len(time_us), _DM1_ID | source, np.uint32)
    return Frames(time_us, ids, np.full(len(time_us), word))


def dm1_payload(active: list[Episode]) -> bytes:
    """The DM1 payload: lamps, flash (not available), then 4 bytes a code; 8 bytes with at most one code."""
    red = any(episode.code.is_red for episode in active)
    amber = bool(active) and not red
    lamps = (1 << 4 if red else 0) | (1 << 2 if amber else 0)
    codes = b"".join(_code_bytes(episode) for episode in active) or b"\x00\x00\x00\x00"
    payload = bytes([lamps, 0xFF]) + codes
    return payload + b"\xff" * (8 - len(payload))


def _code_bytes(episode: Episode) -> bytes:
    """Conversion method 0 (J1939-73, version 4 layout): SPN low 16 bits, its high 3 over the FMI, count."""
    code = episode.code
    return bytes([code.spn & 0xFF, code.spn >> 8 & 0xFF, (code.spn >> 16) << 5 | code.fmi, episode.occurrence_count])
