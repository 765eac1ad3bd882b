"""Opening a CAN bus for listening, through python-can.

What belongs here: which interface listens without taking part in the bus, and how that is asked of
it; one error for everything that may go wrong while a bus is opened; what a socket says of the frames
it lost. Nothing here sends a frame.

A controller in normal mode acknowledges what others send. That alone is harmless; but at a wrong bit
rate it answers every frame with an error frame and takes the bus down. A listen-only controller
(ISO 11898-1, bus monitoring mode) drives nothing. So an interface that cannot be held to listening is
refused, unless the caller says that it may acknowledge.
"""

import contextlib
import json
import logging
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import can

from pm.errors import ConfigError

LISTEN_ONLY: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "cantact": {"monitor": True},
        "kvaser": {"driver_mode": False},
        "nixnet": {"listen_only": True},
        "pcan": {"state": can.BusState.PASSIVE},
        "seeedstudio": {"operation_mode": "silent"},
        "slcan": {"listen_only": True},
        "systec": {"state": can.BusState.PASSIVE},
        "vector": {"listen_only": True},
    }
)
"""How python-can 4.6 is told to listen only, by interface."""
WITHOUT_CONTROLLER: Final = ("udp_multicast", "virtual")
"""Interfaces that are no bus: there is nothing to acknowledge."""
DEFAULT_CHANNEL: Final = WITHOUT_CONTROLLER
"""Interfaces that have a channel of their own where none is named."""

RECEIVE_BUFFER_BYTES: Final = 32 << 20
"""Linux' 208 kB hold some 280 frames, 70 ms of a loaded bus; a flush to a slow card takes longer."""
_SO_RCVBUFFORCE: Final = 33
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")
_MEMINFO_DROPS: Final = 8
"""linux/sock_diag.h, SK_MEMINFO_DROPS."""


class IdFilter(NamedTuple):
    """Takes a frame whose identifier equals `can_id` in the bits of `mask`."""

    can_id: int
    mask: int
    is_extended: bool


@dataclass(frozen=True)
class BusOptions:
    """Which interface, and how it is set up."""

    interface: str
    bitrate: int | None = None
    data_bitrate: int | None = None
    fd: bool = False
    filters: tuple[IdFilter, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of python-can's bus class."""
    may_acknowledge: bool = False
    """Take an interface that cannot be held to listening."""


class OpenedBus(NamedTuple):
    """A bus that listens, and what its driver warned of while it was opened."""

    bus: can.BusABC
    warnings: tuple[str, ...]


def open_bus(options: BusOptions, channel: str | None) -> OpenedBus:
    """Open one channel of an interface, listen-only.

    Raises:
        ConfigError: the interface, its package or its channel is missing, an option does not fit, or
            the interface cannot be held to listening and `may_acknowledge` is not set.
    """
    where = options.interface if channel is None else f"{options.interface} {channel}"
    arguments = _arguments(options, channel)
    heard = _Heard()
    logger = logging.getLogger("can")
    logger.addHandler(heard)
    try:
        bus = can.Bus(channel=_channel(channel), interface=options.interface, ignore_config=True, **arguments)
        if options.filters:
            bus.set_filters(
                [{"can_id": one.can_id, "can_mask": one.mask, "extended": one.is_extended} for one in options.filters]
            )
    except Exception as reason:  # drivers fail in many ways: CanError, OSError, TypeError, AttributeError, ...
        raise ConfigError(f"{where}: expected a bus that opens, but got: {_said(reason)}") from None
    finally:
        logger.removeHandler(heard)
    _widen_buffer(bus)
    return OpenedBus(bus, tuple(heard.messages))


def close_bus(bus: can.BusABC) -> None:
    """Shut the bus down; a bus that is gone already may say so without being heard."""
    with contextlib.suppress(Exception):
        bus.shutdown()


def lost_frames(bus: can.BusABC) -> int:
    """Frames the system dropped since the bus was opened, because they were not fetched in time.

    0 for an interface without a socket, which does not tell (Linux counts them, SO_MEMINFO).
    """
    sock = _socket(bus)
    if sock is None:
        return 0
    try:
        counts = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(counts)[_MEMINFO_DROPS])
    except (OSError, struct.error):
        return 0


def _arguments(options: BusOptions, channel: str | None) -> dict[str, Any]:
    name = options.interface
    if name not in can.VALID_INTERFACES:
        known = ", ".join(sorted(can.VALID_INTERFACES))
        raise ConfigError(f"--interface: expected one of {known}, but got {name!r}")
    if channel is None and name not in DEFAULT_CHANNEL:
        raise ConfigError(f"--channel: expected the channel of {name}, but got none")
    arguments = dict(options.extra)
    rates = {"bitrate": options.bitrate, "data_bitrate": options.data_bitrate}
    arguments.update({key: value for key, value in rates.items() if value is not None})
    if options.fd or name == "udp_multicast":
        arguments["fd"] = options.fd
    if name == "socketcan":
        _check_link(_link(str(channel)), str(channel), options)
        for key in rates:
            arguments.pop(key, None)
    elif not options.may_acknowledge:
        if name not in LISTEN_ONLY and name not in WITHOUT_CONTROLLER:
            raise ConfigError(
                f"--interface: expected one that can be held to listening ({', '.join(sorted(LISTEN_ONLY))}, "
                f"socketcan), but got {name}, which acknowledges frames and at a wrong bit rate disturbs the "
                f"bus: --acknowledge takes it"
            )
        arguments.update(LISTEN_ONLY.get(name, {}))
    return arguments


class Link(NamedTuple):
    """What Linux says of a CAN network interface; None where it does not say."""

    is_up: bool
    listens_only: bool | None
    bitrate: int | None


def _link(channel: str) -> Link | None:
    """The interface's state as `ip` (iproute2) tells it; None without `ip` or without the interface."""
    program = shutil.which("ip")
    if program is None:
        return None
    asked = [program, "-details", "-json", "link", "show", "dev", channel]
    try:
        ran = subprocess.run(asked, capture_output=True, timeout=10, check=True)  # noqa: S603 - no shell
        (found,) = json.loads(ran.stdout)
        about = found.get("linkinfo", {})
        data = about.get("info_data", {})
        is_hardware = about.get("info_kind") == "can"
        # Without any flag set `ip` leaves the list of modes out.
        listens = "LISTEN-ONLY" in data.get("ctrlmode", ()) if is_hardware else None
        return Link("UP" in found["flags"], listens, data.get("bittiming", {}).get("bitrate"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_link(link: Link | None, channel: str, options: BusOptions) -> None:
    """A socketcan interface gets its bit rate and mode from `ip link`, not from us.

    Raises:
        ConfigError: it is down, its controller acknowledges, or its bit rate is another one.
    """
    rate = options.bitrate or (link.bitrate if link else None) or 250_000
    setup = (
        f"ip link set {channel} down; ip link set {channel} type can bitrate {rate} listen-only on; "
        f"ip link set {channel} up"
    )
    if options.bitrate is not None and (link is None or link.bitrate != options.bitrate):
        got = "one that is not known" if link is None or link.bitrate is None else str(link.bitrate)
        raise ConfigError(f"{channel}: expected a bit rate of {options.bitrate}, but got {got} ({setup})")
    if link is None:
        return
    if not link.is_up:
        raise ConfigError(f"{channel}: expected an interface that is up, but got one that is down ({setup})")
    if link.listens_only is False and not options.may_acknowledge:
        raise ConfigError(
            f"{channel}: expected a controller that only listens ({setup}), but got one that acknowledges: "
            f"--acknowledge takes it"
        )


def _channel(channel: str | None) -> Any:
    """The channel as python-can's backends want it: a number where it is one."""
    return int(channel) if channel is not None and channel.isdecimal() else channel


def _socket(bus: can.BusABC) -> socket.socket | None:
    for owner, name in ((bus, "socket"), (getattr(bus, "_multicast", None), "_socket")):
        found = getattr(owner, name, None)
        if isinstance(found, socket.socket):
            return found
    return None


def _widen_buffer(bus: can.BusABC) -> None:
    sock = _socket(bus)
    if sock is None:
        return
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first needs CAP_NET_ADMIN and knows no limit
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER_BYTES)
            return


def _said(reason: Exception) -> str:
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return (text.splitlines() or [""])[0][:200] or type(reason).__name__


class _Heard(logging.Handler):
    """Keeps what a driver warns of, instead of letting it print."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().splitlines()
        if text and text[0][:200] not in self.messages:
            self.messages.append(text[0][:200])
