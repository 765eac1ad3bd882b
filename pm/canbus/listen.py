"""Listening to live buses: a thread a bus, one stream of frames.

What belongs here: fetching frames in time, bringing their time stamps to UTC, opening a bus again
after it went away. What becomes of the frames is the caller's business. The library hands over one
object a frame, so this is the one place of the room that works frame by frame.
"""

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Final

import can

from pm.canbus.bus import OpenedBus, close_bus, lost_frames
from pm.errors import ConfigError

Opener = Callable[[], OpenedBus]

RECEIVE_S: Final = 0.2
"""Longest wait for a frame, so longest wait for a thread to end."""
QUEUE_FRAMES: Final = 200_000
"""20 s of 10,000 frames a second, about 100 MB: a disk that stands still longer costs frames."""
LONGEST_PAUSE_S: Final = 30.0
EARLIEST_S: Final = 315_532_800.0
"""1980-01-01: a time stamp before it counts from the adapter's start."""
LATEST_S: Final = 4_102_444_800.0
"""2100-01-01: no clock that is set shows more."""
ADRIFT_S: Final = 2.0
"""An adapter's counter that has drifted (or wrapped) this far from the clock is set to it again."""
STRANGE_S: Final = 60.0
"""An adapter's own UTC clock this far from the machine's is worth a word."""


class Stamper:
    """Time stamps of one connection as seconds since 1970 UTC.

    A stamp in UTC stays as the adapter gave it. A counter since the adapter's start is laid on the
    machine's clock at the first frame, and again when the two part by more than `ADRIFT_S`. A frame
    without a stamp gets the time it was fetched.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._offset_s = 0.0
        self._is_relative: bool | None = None
        self.note: str | None = None

    def utc(self, stamp_s: float) -> float:
        """The time of a frame that carries `stamp_s`."""
        if self._is_relative is None:
            self._begin(stamp_s)
        if not self._is_relative and EARLIEST_S <= stamp_s < LATEST_S:
            return stamp_s
        now = self._clock()
        if not 0 < stamp_s < LATEST_S:  # none, or not a number
            return now
        if abs(stamp_s + self._offset_s - now) > ADRIFT_S:
            self._offset_s = now - stamp_s
        return stamp_s + self._offset_s

    def _begin(self, stamp_s: float) -> None:
        now = self._clock()
        self._is_relative = not EARLIEST_S <= stamp_s < LATEST_S
        ahead_s = stamp_s - now
        if self._is_relative:
            self._offset_s = -ahead_s if 0 < stamp_s < LATEST_S else 0.0
            self.note = "its time stamps count from its start; laid on this machine's clock"
        elif abs(ahead_s) > STRANGE_S:
            side = "ahead of" if ahead_s > 0 else "behind"
            self.note = f"its time stamps are {abs(ahead_s):.0f} s {side} this machine's clock; kept as they are"


class BusThread(threading.Thread):
    """Fetches the frames of one bus until `closing` is set; opens it again when it goes away.

    The first new attempt is made at once, the next after 1, 2, 4 ... 30 s.
    """

    def __init__(
        self, name: str, opened: OpenedBus, opener: Opener, *, own_names: bool, closing: threading.Event
    ) -> None:
        super().__init__(name=f"capture-{name}", daemon=True)
        self.channel = name
        self.frames: deque[can.Message] = deque()
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.n_dropped = 0
        """Frames that found the queue full."""
        self.n_overrun = 0
        """Frames the system dropped before they were fetched, where it tells."""
        self.n_reconnects = 0
        """How often the bus was opened anew and answered; frames between are missing."""
        self.lost_since: float | None = None
        """When the bus went away (monotonic clock); None while it is there."""
        self._failures = 0
        """Since the bus last answered."""
        self._overrun_before = 0
        self._opened: OpenedBus | None = opened
        self._opener = opener
        self._own_names = own_names
        self._closing = closing

    def run(self) -> None:
        while not self._closing.is_set():
            bus: can.BusABC | None = None
            try:
                opened = self._opened or self._opener()
                self._opened = None
                bus = opened.bus
                for warning in opened.warnings:
                    self.said.put(f"{self.channel}: {warning}")
                self._listen(bus)
            except Exception as reason:  # whatever a driver throws: the bus is gone
                self._note_loss(reason)
            finally:
                if bus is not None:
                    self._overrun_before = self.n_overrun
                    close_bus(bus)
            if self._failures > 1:
                self._closing.wait(min(2.0 ** min(self._failures - 2, 9), LONGEST_PAUSE_S))

    def _listen(self, bus: can.BusABC) -> None:
        stamper = Stamper()
        frames, n = self.frames, 0
        while not self._closing.is_set():
            message = bus.recv(RECEIVE_S)
            if self._failures:
                self._note_return()
            n += 1
            if message is None or n & 0x3FF == 0:
                self.n_overrun = self._overrun_before + lost_frames(bus)
            if message is None:
                continue
            if len(frames) >= QUEUE_FRAMES:
                self.n_dropped += 1
                continue
            message.timestamp = stamper.utc(message.timestamp)
            if stamper.note:
                self.said.put(f"{self.channel}: {stamper.note}")
                stamper.note = None
            if self._own_names or message.channel is None:
                message.channel = self.channel
            else:
                message.channel = str(message.channel)
            frames.append(message)
        self.n_overrun = self._overrun_before + lost_frames(bus)

    def _note_return(self) -> None:
        """The bus answers: a frame came, or none did and nothing was wrong."""
        self._failures = 0
        self.n_reconnects += 1
        if self.lost_since is not None:
            self.said.put(f"{self.channel}: the bus is back after {time.monotonic() - self.lost_since:.0f} s")
            self.lost_since = None

    def _note_loss(self, reason: Exception) -> None:
        self._failures += 1
        # The first failure is told only if opening the bus anew does not heal it.
        if self._failures >= 2 and self.lost_since is None:
            self.lost_since = time.monotonic()
            text = (str(reason).splitlines() or [""])[0][:200] or type(reason).__name__
            self.said.put(f"{self.channel}: the bus went away ({text}); trying again")


class Listening:
    """Several buses, listened to at once. A context manager: leaving it closes them."""

    def __init__(self, openers: Sequence[tuple[str, Opener]], *, own_names: bool = True) -> None:
        """Open every bus, or none.

        `openers` names each bus's channel. With `own_names` every frame of a bus gets that name, else
        the name that the interface gives it.

        Raises:
            ConfigError: one of them does not open.
        """
        self._closing = threading.Event()
        opened: list[OpenedBus] = []
        try:
            opened.extend(opener() for _, opener in openers)
        except ConfigError:
            for one in opened:
                close_bus(one.bus)
            raise
        self.buses = tuple(
            BusThread(name, one, opener, own_names=own_names, closing=self._closing)
            for (name, opener), one in zip(openers, opened, strict=True)
        )
        for bus in self.buses:
            bus.start()

    def take(self) -> list[can.Message]:
        """The frames that came since the last call: each bus in its own order, the buses by time."""
        parts = [_drain(bus.frames) for bus in self.buses]
        parts = [part for part in parts if part]
        if len(parts) < 2:
            return parts[0] if parts else []
        return list(heapq.merge(*parts, key=attrgetter("timestamp")))

    def said(self) -> list[str]:
        """What there was to tell since the last call."""
        texts = []
        for bus in self.buses:
            with suppress(queue.Empty):
                while True:
                    texts.append(bus.said.get_nowait())
        return texts

    def lost_for_s(self) -> float:
        """How long every bus has been away; 0 while one of them is there."""
        since = [bus.lost_since for bus in self.buses]
        lost = [one for one in since if one is not None]
        return time.monotonic() - max(lost) if len(lost) == len(since) else 0.0

    def close(self) -> None:
        """End the threads and shut the buses down; frames fetched before that can still be taken."""
        self._closing.set()
        for bus in self.buses:
            bus.join(timeout=5.0)

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _drain(frames: deque[can.Message]) -> list[can.Message]:
    return [frames.popleft() for _ in range(len(frames))]
