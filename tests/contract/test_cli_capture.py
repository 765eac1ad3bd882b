"""`pm capture` from the outside: signals, kill -9, exit codes, one line of error."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from importlib.util import find_spec

import can
import pytest

from pm.canbus.logfile import open_log
from pm.cli import main
from pm.pipelines.uploads import list_uploads

LONGEST_S = 60
# The virtual bus lives in one process: a thread of it is the truck.
TRUCK = """
import sys, threading, time
import can
bus = can.Bus("truck", interface="virtual", ignore_config=True)
def drive():
    number = 0
    while True:
        bus.send(can.Message(arbitration_id=0x18FEF100, data=number.to_bytes(8, "little")))
        number += 1
        time.sleep(0.0005)
threading.Thread(target=drive, daemon=True).start()
from pm.cli import main
main()
"""


def run(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of `pm capture` in this process."""
    monkeypatch.setattr(sys, "argv", ["pm", "capture", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def payloads(path):
    blocks = list(open_log(path).blocks())
    return [int.from_bytes(row.tobytes(), "little") for block in blocks for row in block.data]


def grown(inbox):
    return [path for path in inbox.glob("logs/*/.*.capturing") if path.stat().st_size > 0]


@pytest.fixture
def truck(tmp_path):
    """A capture in a process of its own that has begun to write."""
    inbox = tmp_path / "inbox"
    options = ["--vehicle", "T-1", "--interface", "virtual", "--channel", "truck", "--inbox", str(inbox)]
    process = subprocess.Popen(
        [sys.executable, "-c", TRUCK, "capture", *options, "--reserve-mb", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + LONGEST_S
    while not grown(inbox) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process, inbox
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it_cleanly(truck, number):
    process, inbox = truck
    process.send_signal(number)
    out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, "Traceback" in err) == (0, False)
    summary = json.loads(out)
    (upload,) = list_uploads(inbox, seen_at=datetime.now(UTC))
    assert summary["ended_by"] == "stopped"
    assert summary["files"][0]["path"] == str(upload.path)
    first, *rest = payloads(upload.path)
    assert rest == list(range(first + 1, first + summary["n_frames"]))
    assert grown(inbox) == []


def test_after_kill_9_the_next_capture_keeps_every_whole_line(truck, monkeypatch, capsys):
    process, inbox = truck
    process.kill()
    process.communicate(timeout=LONGEST_S)
    (left,) = grown(inbox)
    n_lines = left.read_bytes().count(b"\n")
    assert list_uploads(inbox, seen_at=datetime.now(UTC)) == ()
    left.write_bytes(left.read_bytes() + b"(1780000000.12")
    options = ("--vehicle", "T-2", "--interface", "virtual", "--duration", "0.01", "--inbox", inbox, "--json")
    code, out, err = run(monkeypatch, capsys, *options, "--reserve-mb", 0)
    (upload,) = list_uploads(inbox, seen_at=datetime.now(UTC))
    assert (code, upload.vehicle_ref, upload.is_listed) == (0, "T-1", True)
    first, *rest = payloads(upload.path)
    assert rest == list(range(first + 1, first + n_lines))
    assert "recovered" in err
    assert json.loads(out)["files"][0]["recovered"] is True


def exchange(monkeypatch, capsys, sender, messages, *arguments):
    """Send `messages` again and again until the capture has enough; run it meanwhile."""
    ended = threading.Event()

    def send():
        while not ended.is_set():
            for message in messages:
                sender.send(message)
            ended.wait(0.01)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return run(monkeypatch, capsys, *arguments)
    finally:
        ended.set()
        thread.join()
        sender.shutdown()


def test_frames_of_a_number_are_taken_and_shown(tmp_path, monkeypatch, capsys):
    sender = can.Bus("shown", interface="virtual", ignore_config=True)
    message = can.Message(arbitration_id=0x18FEF100, data=b"12345678")
    options = ("--vehicle", "T-1", "--interface", "virtual", "--channel", "shown", "--inbox", tmp_path)
    limits = ("--frames", 30, "--duration", LONGEST_S, "--reserve-mb", 0, "--filter", "18FEF1FE:00FFFF00")
    code, out, err = exchange(monkeypatch, capsys, sender, [message], *options, *limits)
    (path,) = (tmp_path / "logs" / "T-1").iterdir()
    assert (code, len(payloads(path))) == (0, 30)
    assert "30 frames in " in out
    assert "ended by: frames" in out
    assert path.name in out
    assert f"{path.name}: 30 frames" in err


def test_the_bus_over_udp_multicast(tmp_path, monkeypatch, capsys):
    if find_spec("msgpack") is None:
        pytest.skip("msgpack is missing: pip install 'python-can[multicast]'")
    group = "239.74.163.2"
    try:
        sender = can.Bus(group, interface="udp_multicast", port=43117, fd=True, ignore_config=True)
        sender.send(can.Message(arbitration_id=1))
        heard = can.Bus(group, interface="udp_multicast", port=43117, fd=True, ignore_config=True)
        sender.send(can.Message(arbitration_id=1))
        arrives = heard.recv(1.0) is not None
        heard.shutdown()
    except (can.CanError, OSError) as reason:
        pytest.skip(f"no multicast here: {reason}")
    if not arrives:
        sender.shutdown()
        pytest.skip("no multicast here: what is sent does not arrive")
    message = can.Message(arbitration_id=0x18FEF100, data=bytes(range(64)), is_fd=True, channel="can 7")
    options = ("--vehicle", "T-1", "--interface", "udp_multicast", "--channel", group, "--option", "port=43117", "--fd")
    limits = ("--frames", 20, "--duration", LONGEST_S, "--inbox", tmp_path, "--reserve-mb", 0, "--json")
    code, out, _ = exchange(monkeypatch, capsys, sender, [message], *options, *limits)
    (path,) = (tmp_path / "logs" / "T-1").iterdir()
    (block,) = open_log(path).blocks()
    assert (code, json.loads(out)["channels"]) == (0, {"can_7": 20})
    assert (len(block), block.channels, block.data[19].tobytes()) == (20, ("can_7",), bytes(range(64)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--interface", "socketcam"], "error: --interface: expected one of"),
        (["--interface", "socketcan"], "error: --channel: expected the channel of socketcan, but got none"),
        (["--interface", "socketcan", "--channel", "nocan7"], "error: socketcan nocan7: expected a bus that opens"),
        (["--interface", "neousys", "--channel", "0"], "--acknowledge takes it"),
        (["--interface", "neousys", "--channel", "0", "--acknowledge"], "error: neousys 0: expected a bus that opens"),
        (["--interface", "virtual", "--filter", "1G:7FF"], "error: --filter: expected ID:MASK"),
        (["--interface", "virtual", "--option", "x"], "error: --option: expected NAME=VALUE"),
        (["--interface", "virtual", "--vehicle", "../up"], "error: --vehicle: expected a unit number"),
        (["--interface", "virtual", "--format", "asc"], "Invalid value for '--format'"),
    ],
)
def test_a_capture_that_cannot_begin_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, arguments, said):
    code, out, err = run(monkeypatch, capsys, "--vehicle", "T-1", "--inbox", tmp_path, "--reserve-mb", 0, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("Usage") or err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_inbox_that_cannot_be_written_is_exit_4(tmp_path, monkeypatch, capsys):
    (tmp_path / "inbox").write_text("a file", encoding="utf-8")
    options = ("--vehicle", "T-1", "--interface", "virtual", "--inbox", tmp_path / "inbox")
    code, _, err = run(monkeypatch, capsys, *options)
    assert code == 4
    assert err.startswith(f"error: inbox {tmp_path / 'inbox'}: expected a folder to write, but got: ")
