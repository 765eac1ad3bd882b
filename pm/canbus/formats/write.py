"""Writing CAN frames as a log that grows: candump text and BLF.

What belongs here: the bytes of a log, written so that whatever stands on the disk can be made whole
again after the process is killed. Where the file lies and what it is called is not decided here.
python-can's candump writer is not used: it changes a time that runs backwards, drops an error frame's
class and a remote frame's length.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import can

CaptureFormat = Literal["candump", "blf"]

SUFFIXES: Final[dict[CaptureFormat, str]] = {"candump": ".log", "blf": ".blf"}
MAXIMUM_NAME: Final = 32
"""Longest channel name our reader takes."""
MAXIMUM_CHANNELS: Final = 256
_ERROR_FLAG: Final = 0x20000000
_DATA_LINE: Final = re.compile(rb"^\(\d+\.\d{6}\) \S+ (?:[0-7][0-9A-F]{2}|[01][0-9A-F]{7})#(?!R)", re.MULTILINE)
_CHUNK: Final = 1 << 20
_BLF_LEAD_S: Final = 1.0
"""BLF cannot tell a time before its start; a second channel's first frame may be a little earlier."""


class LogWriter(Protocol):
    """A log that grows. `size` counts its bytes so far."""

    size: int

    def write(self, messages: Iterable[can.Message]) -> None:
        """Append frames.

        Raises:
            OSError: the disk refused; what was written whole before is still there.
        """

    def flush(self) -> None:
        """Hand everything over to the operating system."""

    def close(self) -> None:
        """Complete the log."""


class Channels:
    """Names of bus channels as a log can hold them, and their numbers in order of appearance."""

    def __init__(self) -> None:
        self._names: dict[object, str] = {}
        self._numbers: dict[str, int] = {}

    def name(self, channel: object) -> str:
        """A name without blanks, at most `MAXIMUM_NAME` long; a number n is called `cann`, as candump does.

        Interfaces hand over whatever a sender said: names beyond `MAXIMUM_CHANNELS` all become `other`.
        """
        found = self._names.get(channel)
        if found is None:
            found = channel_name(channel) if len(self._names) < MAXIMUM_CHANNELS - 1 else "other"
            if len(self._names) < MAXIMUM_CHANNELS - 1:
                self._names[channel] = found
        return found

    def number(self, channel: object) -> int:
        """0 for the first channel seen, 1 for the next."""
        return self._numbers.setdefault(self.name(channel), len(self._numbers))


def channel_name(channel: object) -> str:
    """`channel` as one word for a log."""
    text = str(channel)
    return re.sub(r"[^!-~]", "_", f"can{text}" if text.isdecimal() else text)[:MAXIMUM_NAME] or "can"


def candump_line(message: can.Message, channel: str) -> str:
    """One frame as `candump -L` writes it (can-utils, lib.h): times in microseconds, UTC.

    A remote frame keeps its length (`123#R8`), an error frame its class (the id with CAN_ERR_FLAG) and
    data, a CAN FD frame its flags (BRS 1, ESI 2).
    """
    time_us = round(message.timestamp * 1e6)
    can_id = message.arbitration_id
    stamp = f"({time_us // 1_000_000}.{time_us % 1_000_000:06d}) {channel}"
    if message.is_error_frame:
        return f"{stamp} {can_id & 0x1FFFFFFF | _ERROR_FLAG:08X}#{message.data.hex().upper()}\n"
    name = f"{can_id:08X}" if message.is_extended_id else f"{can_id:03X}"
    if message.is_remote_frame:
        return f"{stamp} {name}#R{message.dlc or ''}\n"
    if message.is_fd:
        flags = message.bitrate_switch | message.error_state_indicator << 1
        return f"{stamp} {name}##{flags:X}{message.data.hex().upper()}\n"
    return f"{stamp} {name}#{message.data.hex().upper()}\n"


class CandumpWriter:
    """candump -L text. Whole lines only stand in the file, also after a disk has refused."""

    def __init__(self, descriptor: int, channels: Channels) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._channels = channels

    def write(self, messages: Iterable[can.Message]) -> None:
        """See `LogWriter`."""
        name = self._channels.name
        text = "".join([candump_line(message, name(message.channel)) for message in messages]).encode("ascii")
        view = memoryview(text)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is to be completed."""


class BlfWriter:
    """Vector's BLF, by python-can; channels are numbered from 1, their names are lost."""

    def __init__(self, descriptor: int, channels: Channels) -> None:
        # The file object owns a second descriptor: python-can closes it when the log is complete.
        self._file = os.fdopen(os.dup(descriptor), "r+b")
        self._writer = can.BLFWriter(self._file)
        self._channels = channels
        self._has_begun = False
        self.size = 0

    def write(self, messages: Iterable[can.Message]) -> None:
        """See `LogWriter`."""
        writer, number = self._writer, self._channels.number
        for message in messages:
            if not self._has_begun:
                self._begin(message.timestamp)
            message.channel = number(message.channel)
            writer.on_message_received(message)
        self.size = writer.file_size()

    def _begin(self, time_s: float) -> None:
        """Write the header with the log's start, which a killed process could not add later."""
        self._writer.start_timestamp = int((time_s - _BLF_LEAD_S) * 1000) / 1000
        self._writer.stop_timestamp = time_s
        end = self._file.tell()
        self._file.seek(0)
        self._writer._write_header(end)
        self._file.seek(end)
        self._has_begun = True

    def flush(self) -> None:
        """Write what is collected as a container of its own."""
        self._writer._flush()
        self._file.flush()

    def close(self) -> None:
        """Write the rest and the final header."""
        if not self._file.closed:
            self._writer.stop()


def new_writer(format: CaptureFormat, descriptor: int, channels: Channels) -> LogWriter:
    """A writer of an empty file that is open for reading and writing."""
    return CandumpWriter(descriptor, channels) if format == "candump" else BlfWriter(descriptor, channels)


def mend(path: Path, format: CaptureFormat) -> bool:
    """Make a log whole that was not completed; whether it holds a data frame.

    candump: everything up to the last whole line stays (a power cut may leave zeros behind it). BLF:
    every frame that can be read stays.

    Raises:
        OSError: the file cannot be read or written.
    """
    return _mend_candump(path) if format == "candump" else _mend_blf(path)


def _mend_candump(path: Path) -> bool:
    whole, has_data, held = 0, False, b""
    with path.open("r+b") as file:
        while chunk := file.read(_CHUNK):
            text = held + chunk
            good, zeros, _ = text.partition(b"\0")
            end = good.rfind(b"\n") + 1
            has_data = has_data or _DATA_LINE.search(good, 0, end) is not None
            whole += end
            held = good[end:]
            if zeros or len(held) > _CHUNK:
                break
        file.truncate(whole)
    return has_data


def _mend_blf(path: Path) -> bool:
    mended = path.with_name(path.name + ".mended")
    n_data = 0
    with can.BLFWriter(mended) as writer:
        for message in _readable(path):
            if writer.start_timestamp is None:
                writer.start_timestamp = int((message.timestamp - _BLF_LEAD_S) * 1000) / 1000
            writer.on_message_received(message)
            n_data += not (message.is_error_frame or message.is_remote_frame)
    mended.replace(path)
    return n_data > 0


def _readable(path: Path) -> Iterable[Any]:
    """The frames of a BLF log up to its first damage."""
    try:
        yield from can.BLFReader(path)
    except Exception:  # the reader fails in many ways on a container that was cut
        return
