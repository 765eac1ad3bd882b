"""Opening a bus for listening only, bringing its time stamps to UTC, and telling what was lost."""

import json
import socket
from pathlib import Path

import can
import pytest
from can.interfaces import BACKENDS

from pm.canbus.bus import LISTEN_ONLY, BusOptions, IdFilter, close_bus, lost_frames, open_bus
from pm.canbus.formats.write import Channels, candump_line
from pm.canbus.listen import Stamper
from pm.errors import ConfigError

NOW = 1_780_000_000.0


@pytest.mark.parametrize("interface", sorted(LISTEN_ONLY))
def test_python_can_knows_the_argument_that_makes_an_interface_listen(interface):
    module = BACKENDS[interface][0]
    folder = Path(can.__file__).parent.joinpath(*module.split(".")[1:])
    sources = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    assert all(argument in text for argument in LISTEN_ONLY[interface])
    assert all(f'"{value}"' in text for value in LISTEN_ONLY[interface].values() if isinstance(value, str))


@pytest.mark.parametrize(
    ("options", "channel", "said"),
    [
        (BusOptions("socketcam"), "can0", "expected one of .*socketcan.* but got 'socketcam'"),
        (BusOptions("kvaser"), None, "expected the channel of kvaser"),
        (BusOptions("neousys"), "0", "held to listening .* but got neousys.*--acknowledge"),
        (BusOptions("neousys", may_acknowledge=True), "0", "neousys 0: expected a bus that opens"),
        (BusOptions("socketcan"), "nocan7", "socketcan nocan7: expected a bus that opens"),
        (BusOptions("socketcan", bitrate=250_000), "nocan7", "bit rate of 250000, but got one that is not known"),
        (BusOptions("virtual", extra={"channel": "x"}), "a", "multiple values"),
        (BusOptions("udp_multicast"), "127.0.0.1", "expected a bus that opens"),
    ],
)
def test_a_bus_that_cannot_be_opened_is_one_line(options, channel, said):
    with pytest.raises(ConfigError, match=said) as caught:
        open_bus(options, channel)
    assert "\n" not in str(caught.value)


def link(*, up=True, modes=("LISTEN-ONLY",), bitrate=250_000, kind="can"):
    data = {"bittiming": {"bitrate": bitrate}} | ({"ctrlmode": list(modes)} if modes else {})
    return [{"flags": ["UP"] if up else [], "linkinfo": {"info_kind": kind, "info_data": data}}]


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        (link(), {}, "expected a bus that opens"),
        (link(modes=()), {}, "only listens .*listen-only on.* but got one that acknowledges: --acknowledge"),
        (link(modes=("LOOPBACK",)), {"may_acknowledge": True}, "expected a bus that opens"),
        (link(up=False), {}, "is down .*ip link set can0 up"),
        (link(), {"bitrate": 500_000}, "bit rate of 500000, but got 250000"),
        (link(), {"bitrate": 250_000}, "expected a bus that opens"),
        (link(modes=(), kind="vcan"), {}, "expected a bus that opens"),
        ("no json", {}, "expected a bus that opens"),
    ],
)
def test_socketcan_is_asked_whether_it_only_listens(tmp_path, monkeypatch, answer, options, said):
    program = tmp_path / "ip"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def refuse(*_, **__):
        raise OSError(19, "No such device")

    monkeypatch.setattr(can, "Bus", refuse)
    with pytest.raises(ConfigError, match=said):
        open_bus(BusOptions("socketcan", **options), "can0")


def test_a_filter_takes_what_matches_and_knows_29_bits_from_11():
    options = BusOptions("virtual", filters=(IdFilter(0x18FEF100, 0x03FFFF00, is_extended=True),))
    opened = open_bus(options, "filtered")
    sender = can.Bus("filtered", interface="virtual", ignore_config=True)
    try:
        for can_id, is_extended in ((0x18FEF221, True), (0x0CFEF121, True), (0x100, False)):
            sender.send(can.Message(arbitration_id=can_id, is_extended_id=is_extended))
        got = [message.arbitration_id for message in iter(lambda: opened.bus.recv(0.05), None)]
    finally:
        close_bus(opened.bus)
        close_bus(sender)
    assert got == [0x0CFEF121]


def test_frames_that_the_system_dropped_are_counted():
    class Receiver:
        socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    with Receiver.socket as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        receiver.bind(("127.0.0.1", 0))
        assert lost_frames(Receiver) == 0
        for _ in range(200):
            sender.sendto(bytes(16), receiver.getsockname())
        receiver.setblocking(False)
        n_got = 0
        while True:
            try:
                receiver.recv(16)
            except BlockingIOError:
                break
            n_got += 1
        assert lost_frames(Receiver) == 200 - n_got > 0


def test_a_utc_stamp_stays_as_it_is_and_a_strange_one_is_told():
    stamper = Stamper(lambda: NOW)
    assert [stamper.utc(NOW - 7200.5), stamper.utc(NOW + 1)] == [NOW - 7200.5, NOW + 1]
    assert stamper.note == "its time stamps are 7200 s behind this machine's clock; kept as they are"


def test_a_counter_is_laid_on_the_clock_and_again_when_it_drifts_or_wraps():
    now = [NOW]
    stamper = Stamper(lambda: now[0])
    assert stamper.utc(100.0) == NOW
    assert "count from its start" in stamper.note
    now[0] = NOW + 10.01  # fetched 10 ms late: the adapter's own spacing is kept
    assert stamper.utc(110.0) == NOW + 10.0
    now[0] = NOW + 20.0
    assert stamper.utc(0.5) == NOW + 20.0


@pytest.mark.parametrize("stamp", [0.0, -5.0, float("nan"), float("inf"), 1e300])
def test_a_frame_without_a_time_gets_the_time_it_was_fetched(stamp):
    assert Stamper(lambda: NOW).utc(stamp) == NOW
    used = Stamper(lambda: NOW)
    used.utc(NOW - 1)
    assert used.utc(stamp) == NOW


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"arbitration_id": 0x1A, "is_extended_id": False, "data": b"\x0a"}, "01A#0A"),
        ({"arbitration_id": 0x1A, "data": b""}, "0000001A#"),
        ({"arbitration_id": 0x1A, "is_remote_frame": True, "dlc": 3}, "0000001A#R3"),
        ({"arbitration_id": 0x88, "is_error_frame": True, "data": b"\x00\x01"}, "20000088#0001"),
        (
            {"arbitration_id": 1, "is_fd": True, "error_state_indicator": True, "data": bytes(12)},
            f"00000001##2{'0' * 24}",
        ),
    ],
)
def test_a_frame_is_written_as_candump_does(message, line):
    made = can.Message(timestamp=1_436_509_052.249713, **message)
    assert candump_line(made, "can0") == f"(1436509052.249713) can0 {line}\n"


def test_channel_names_are_words_and_of_a_bounded_number():
    channels = Channels()
    assert [channels.name(name) for name in (0, "0", "a b\n", "x" * 99)] == ["can0", "can0", "a_b_", "x" * 32]
    assert len({channels.name(f"c{number}") for number in range(1000)}) <= 256
    channels = Channels()
    assert (channels.number("p"), channels.number("q"), channels.number("p")) == (0, 1, 0)
