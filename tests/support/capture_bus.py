"""A virtual bus on which frames wait, and what a capture made of them."""

from dataclasses import replace
from datetime import UTC, datetime

import can

from pm.canbus.bus import BusOptions, close_bus, open_bus
from pm.canbus.logfile import open_log
from pm.pipelines.capture import CaptureJob, capture

T0 = 1_780_000_000.0
SEEN_AT = datetime(2099, 1, 1, tzinfo=UTC)


def never():
    return False


class Watcher:
    """Keeps what it is told."""

    def __init__(self):
        self.notices, self.shown = [], []

    def progress(self, report, current, n_bytes):
        self.shown.append((report.n_frames, current, n_bytes))

    def notice(self, text):
        self.notices.append(text)


def frame(number=0, **changes):
    given = {"arbitration_id": 0x18FEF100 + number % 200, "data": number.to_bytes(8, "little")}
    return can.Message(timestamp=T0 + number / 1000, **(given | changes))


def job_for(inbox, name):
    """A capture of the virtual bus `name`."""
    return CaptureJob(inbox, "T-1", BusOptions("virtual"), (f"{name}-a",), reserve_bytes=0)


def filled(channel, messages):
    """An opener of a virtual bus on which `messages` already wait."""
    opened = open_bus(BusOptions("virtual"), channel)
    sender = can.Bus(channel, interface="virtual", ignore_config=True, preserve_timestamps=True)
    for message in messages:
        sender.send(message)
    close_bus(sender)
    return lambda: opened


def captured(job, messages, **changes):
    name = job.channels[0]
    changed = replace(job, **({"n_frames": len(messages)} | changes))
    return capture(changed, never, Watcher(), openers=[(name, filled(name, messages))])


def frames_of(files):
    """(time in microseconds, id, extended, payload, channel) of every data frame, file after file."""
    found = []
    for file in files:
        for block in open_log(file.path).blocks():
            for row in range(len(block)):
                payload = block.data[row, : block.length[row]].tobytes()
                name = block.channels[block.channel[row]]
                found.append(
                    (int(block.time_us[row]), int(block.can_id[row]), bool(block.is_extended[row]), payload, name)
                )
    return found


def sent_rows(messages, name):
    return [
        (round(one.timestamp * 1e6), one.arbitration_id, one.is_extended_id, bytes(one.data), name)
        for one in messages
        if not (one.is_error_frame or one.is_remote_frame)
    ]
