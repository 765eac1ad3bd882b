"""The log files of one truck: what its logger recorded, cut into uploads.

What belongs here: encoding samples into frames, leaving out what the logger missed, and writing each
upload in the logger's format. Which uploads there are is `pm.simulate.uploads`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan
from pm.errors import ConfigError
from pm.simulate.changes import of_kind, rescaled
from pm.simulate.components import ENGINE
from pm.simulate.encode import Frames, encode, join
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle
from pm.simulate.formats import FORMATS
from pm.simulate.logger import Logger
from pm.simulate.operation import Sessions
from pm.simulate.signals import Samples
from pm.simulate.transport import broadcast
from pm.simulate.uploads import Upload

PGN_VI: Final = 65260


@dataclass(frozen=True)
class Recording:
    """What a truck's controllers sent and how its logger brings it home."""

    vehicle: Vehicle
    sessions: Sessions
    samples: Sequence[Samples]
    other_frames: Frames
    """DM1, ready as frames."""
    dead: NDArray[np.bool_]
    """Days on which nothing is recorded."""
    logger: Logger
    uploads: Sequence[Upload]

    def is_recorded(self, time_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the logger recorded at each time, seconds from the fleet's start."""
        return np.asarray(~self.dead[(time_s // DAY_S).astype(np.int64)] & self.logger.records(time_s))


@dataclass(frozen=True)
class LogFile:
    """One file as it arrived."""

    file: str
    """Its path in the fleet's folder."""
    vehicle_ref: str
    uploaded_at: datetime
    n_frames: int
    n_bytes: int


def check_changes(config: FleetConfig, plans: Mapping[str, MessagePlan]) -> None:
    """Raise `ConfigError` for a change of a signal that no simulated message carries."""
    names = {signal.name for plan in plans.values() for signal in plan.signals}
    for change in of_kind(config, "firmware_rescale"):
        if change.signal not in names:
            raise ConfigError(
                f"change {change.kind}: expected a signal that is sent ({', '.join(sorted(names))}), "
                f"but got {change.signal!r}"
            )


def recorded_frames(config: FleetConfig, recording: Recording, plans: Mapping[str, MessagePlan]) -> Frames:
    """All frames the logger recorded, in time order, but for the VIN that opens each file."""
    parts = [_encoded(config, recording.vehicle.model.name, each, plans[each.message]) for each in recording.samples]
    frames = join([*parts, recording.other_frames])
    return frames.select(recording.is_recorded(frames.time_us / 1e6 - config.start_s))


def write_logs(
    config: FleetConfig, recording: Recording, plans: Mapping[str, MessagePlan], folder: Path
) -> list[LogFile]:
    """Write the truck's uploads under `folder`/logs; one without frames leaves no file."""
    frames = recorded_frames(config, recording, plans)
    (folder / "logs" / recording.vehicle.vehicle_ref).mkdir(parents=True)
    files = []
    for upload in recording.uploads:
        mine = _of_days(config, frames, upload)
        if len(mine):
            files += _write_upload(config, recording, upload, mine, folder)
    return files


def _write_upload(
    config: FleetConfig, recording: Recording, upload: Upload, frames: Frames, folder: Path
) -> list[LogFile]:
    content = join([_vin_frames(config, recording, upload), frames])
    vehicle_ref, suffix = recording.vehicle.vehicle_ref, FORMATS[recording.logger.format].suffix
    written = FORMATS[recording.logger.format].write(content, recording.logger.bus(content))
    files = []
    for arrived_s in (upload.uploaded_s, upload.again_s):
        if arrived_s is None:
            continue
        uploaded_at = config.instant(arrived_s)
        name = f"logs/{vehicle_ref}/{uploaded_at:%Y%m%dT%H%M%SZ}{suffix}"
        # Two files of one name would be one: the second is refused and not put over the first.
        with (folder / name).open("xb") as file:
            file.write(written)
        files.append(LogFile(name, vehicle_ref, uploaded_at, len(content), len(written)))
    return files


def epoch_us(config: FleetConfig, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Microseconds of the Unix epoch for seconds from the fleet's start."""
    return np.rint(time_s * 1e6).astype(np.int64) + config.start_s * 1_000_000


def _encoded(config: FleetConfig, model: str, samples: Samples, plan: MessagePlan) -> Frames:
    values = samples.values
    if of_kind(config, "firmware_rescale"):
        day = (samples.time_s // DAY_S).astype(np.int64)
        values = {name: rescaled(config, model, name, day, each) for name, each in values.items()}
    return encode(plan, samples.source_address, epoch_us(config, samples.time_s), values)


def _of_days(config: FleetConfig, frames: Frames, upload: Upload) -> Frames:
    midnights = [config.start_s + day * DAY_S for day in (upload.from_day, upload.until_day)]
    low, high = np.searchsorted(frames.time_us, np.array(midnights) * 1_000_000)
    return frames.select(slice(int(low), int(high)))


def _vin_frames(config: FleetConfig, recording: Recording, upload: Upload) -> Frames:
    """Vehicle identification (VI) once, some seconds into the file's first recorded session."""
    sessions = recording.sessions
    mine = (sessions.day >= upload.from_day) & (sessions.day < upload.until_day)
    first = np.flatnonzero(mine & recording.is_recorded(sessions.start_s))[:1]
    # 3.7 s in: no other broadcast of the engine is under way then.
    times = epoch_us(config, sessions.start_s[first] + 3.7)
    return broadcast(PGN_VI, ENGINE, f"{recording.vehicle.vin}*".encode("ascii"), times)
