"""`pm capture`: live CAN buses into the inbox."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import can.util
import click

from pm.canbus.bus import BusOptions, IdFilter
from pm.cli.output import json_option, print_json, print_table
from pm.errors import ConfigError
from pm.pipelines.capture import MEGABYTE, CaptureJob, CaptureReport, capture
from pm.settings import read_settings

PLAIN_PROGRESS_S: Final = 60.0
"""Without a terminal a line a minute is enough."""
_FILTER: Final = re.compile(r"([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8}):([0-9A-Fa-f]{1,8})")


@click.command("capture")
@click.option("--vehicle", "vehicle_ref", required=True, help="Unit number of the truck that is listened to.")
@click.option("--interface", required=True, help="python-can interface: socketcan, pcan, kvaser, vector, slcan, ...")
@click.option("--channel", "channels", multiple=True, help="Channel of the interface, such as can0; repeatable.")
@click.option("--bitrate", type=click.IntRange(min=1), help="Bits a second; socketcan: checked, `ip link` sets it.")
@click.option("--fd", is_flag=True, help="Take CAN FD frames too.")
@click.option("--data-bitrate", type=click.IntRange(min=1), help="Bits a second of the data phase of CAN FD.")
@click.option("--acknowledge", is_flag=True, help="Take an interface that cannot be held to listening only.")
@click.option("--filter", "filters", multiple=True, help="Take only ID:MASK (hex, 3 or 8 digits of id); repeatable.")
@click.option("--option", "extra", multiple=True, help="NAME=VALUE for python-can's bus class; repeatable.")
@click.option("--inbox", type=click.Path(path_type=Path), help="Folder to write to.  [default: PM_INBOX]")
@click.option(
    "--format", type=click.Choice(["candump", "blf"]), default="candump", show_default=True, help="Of the logs."
)
@click.option(
    "--rotate-mb", type=click.FloatRange(min=0.001, max=2000), default=64, show_default=True, help="Size of a file."
)
@click.option(
    "--rotate-minutes",
    type=click.IntRange(0, 1440),
    default=15,
    show_default=True,
    help="Time of a file, counted from midnight UTC; 0: a day.",
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds to listen.  [default: no end]")
@click.option("--frames", type=click.IntRange(min=1), help="Frames to take.  [default: no end]")
@click.option(
    "--give-up-minutes",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    help="How long to try when every bus went away.",
)
@click.option(
    "--reserve-mb", type=click.IntRange(min=0), default=500, show_default=True, help="Disk space left to others."
)
@json_option
def capture_command(
    *,
    vehicle_ref: str,
    interface: str,
    channels: tuple[str, ...],
    bitrate: int | None,
    fd: bool,
    data_bitrate: int | None,
    acknowledge: bool,
    filters: tuple[str, ...],
    extra: tuple[str, ...],
    inbox: Path | None,
    format: Any,
    rotate_mb: float,
    rotate_minutes: int,
    duration: float | None,
    frames: int | None,
    give_up_minutes: float,
    reserve_mb: int,
    as_json: bool,
) -> None:
    """Write what live CAN buses of one vehicle carry as logs into the inbox; never sends a frame.

    A log stands in INBOX/logs/VEHICLE when it is complete, and in uploads.csv with the time it was;
    until then it has a hidden name. What a killed capture left behind is finished at the next start.
    Ctrl-C, SIGTERM and SIGHUP end cleanly: the last file is finished.

    \b
    Listen-only is set for cantact, kvaser, nixnet, pcan, seeedstudio, slcan, systec, vector.
    socketcan has it from the interface, which is checked:
      ip link set can0 type can bitrate 250000 listen-only on && ip link set can0 up
    Others acknowledge frames and, at a wrong bit rate, disturb the bus: only with --acknowledge.

    A bus that goes away is opened again, at once, then after 1, 2, 4 ... 30 s.

    \b
    Exit codes: 0 ended as asked · 2 no such interface, channel or package, wrong option
    · 3 the bus went away for good, uploads.csv unusable · 4 disk full or not writable
    """
    job = CaptureJob(
        inbox=(inbox or read_settings().inbox).resolve(),
        vehicle_ref=vehicle_ref,
        bus=BusOptions(
            interface=interface,
            bitrate=bitrate,
            data_bitrate=data_bitrate,
            fd=fd,
            filters=tuple(_id_filter(text) for text in filters),
            extra=dict(_extra(text) for text in extra),
            may_acknowledge=acknowledge,
        ),
        channels=channels or (None,),
        format=format,
        rotate_bytes=int(rotate_mb * MEGABYTE),
        rotate_s=rotate_minutes * 60,
        duration_s=duration,
        n_frames=frames,
        give_up_s=give_up_minutes * 60,
        reserve_bytes=reserve_mb * MEGABYTE,
    )
    screen = _Screen(vehicle_ref)
    with _stopped_by_signals() as stop:
        report = capture(job, stop, screen)
    screen.end()
    with suppress(OSError):  # whoever looked on may be gone
        print_json(report) if as_json else _print_report(report)
        if report.problem:
            click.echo(f"error: {report.problem}", err=True)
    sys.exit(report.exit_code)


def _id_filter(text: str) -> IdFilter:
    found = _FILTER.fullmatch(text)
    if found is None:
        raise ConfigError(f"--filter: expected ID:MASK such as 18FEF100:00FFFF00, but got {text!r}")
    return IdFilter(int(found[1], 16), int(found[2], 16), is_extended=len(found[1]) == 8)


def _extra(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ConfigError(f"--option: expected NAME=VALUE, but got {text!r}")
    return name, can.util.cast_from_string(value)


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, SIGTERM or SIGHUP (a terminal that was closed) came; they do not end the process.

    A signal that is ignored, as under nohup, stays so.
    """
    came: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    before = [(number, signal.signal(number, lambda which, _: came.append(which))) for number in heeded]
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


class _Screen:
    """Shows how a capture goes on: one line that changes in a terminal, plain lines elsewhere."""

    def __init__(self, vehicle_ref: str) -> None:
        self._vehicle_ref = vehicle_ref
        self._is_terminal = sys.stderr.isatty()
        self._shown_at, self._frames_then, self._seconds_then = 0.0, 0, 0.0

    def progress(self, report: CaptureReport, current: str | None, n_bytes: int) -> None:
        passed = report.seconds - self._seconds_then
        if not self._is_terminal and report.seconds - self._shown_at < PLAIN_PROGRESS_S:
            return
        rate = (report.n_frames - self._frames_then) / passed if passed > 0 else 0.0
        self._shown_at = self._seconds_then = report.seconds
        self._frames_then = report.n_frames
        lost = report.n_dropped + report.n_overrun
        megabytes = (report.n_bytes + n_bytes) / MEGABYTE
        text = (
            f"{self._vehicle_ref}  {report.n_frames:,} frames  {rate:,.0f}/s  {megabytes:,.1f} MB"
            f"  {report.n_error:,} errors  {lost:,} lost  {current or 'waiting for frames'}"
        )
        if not self._is_terminal:
            self._write(text + "\n")
            return
        with suppress(OSError):  # a terminal of unknown width
            text = text[: os.get_terminal_size(sys.stderr.fileno()).columns - 1]
        self._write(f"\r\x1b[2K{text}")

    def notice(self, text: str) -> None:
        self._write(("\r\x1b[2K" if self._is_terminal else "") + text + "\n")

    def end(self) -> None:
        if self._is_terminal:
            self._write("\r\x1b[2K")

    @staticmethod
    def _write(text: str) -> None:
        with suppress(OSError):  # the terminal may be gone; the capture goes on
            click.echo(text, nl=False, err=True)


def _print_report(report: CaptureReport) -> None:
    seconds = f"{report.seconds:,.1f} s"
    click.echo(f"{report.vehicle_ref}: {report.n_frames:,} frames in {seconds}; ended by: {report.ended_by}")
    print_table("By channel", ("channel", "frames"), sorted(report.channels.items()))
    counts = {
        "error frames": report.n_error,
        "remote frames": report.n_remote,
        "malformed": report.n_malformed,
        "dropped": report.n_dropped,
        "overrun": report.n_overrun,
        "reconnects": report.n_reconnects,
        **report.error_classes,
    }
    if told := [(name, count) for name, count in counts.items() if count]:
        print_table("Beside the data", ("what", "count"), told)
    rows = [(file.path.name, file.n_frames, file.n_bytes) for file in report.files if not file.recovered]
    print_table("In the inbox", ("file", "frames", "bytes"), rows)
