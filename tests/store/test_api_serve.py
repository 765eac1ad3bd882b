"""`pm serve` as a process: it answers, it stops, and it says what is missing."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

PROJECT = Path(__file__).resolve().parents[2]


def environment(home: Path, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PM_")}
    return {**kept, "PYTHONPATH": str(PROJECT), "PM_HOME": str(home), "PM_DATABASE_URL": url}


def command(port: int) -> list[str]:
    return [sys.executable, "-m", "pm", "serve", "--port", str(port)]


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(database_url: str, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(port),
        env=environment(tmp_path, database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def wait_until_alive(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/livez").json()["status"] == "ok"
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("no answer within 30 s")


def test_it_answers_prints_its_addresses_refuses_a_taken_port_and_stops(
    served: subprocess.Popen[str], port: int, database_url: str, tmp_path: Path
) -> None:
    wait_until_alive(port)
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
    assert "There are no predictions yet" in httpx.get(f"http://127.0.0.1:{port}/").text

    second = subprocess.run(
        command(port), env=environment(tmp_path, database_url), capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == 2
    assert f"error: expected to listen on 127.0.0.1, port {port}, but got: Address already in use" in second.stderr

    served.send_signal(signal.SIGTERM)
    said, _ = served.communicate(timeout=30)
    assert f"Pages: http://127.0.0.1:{port}/" in said
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/livez")


def test_a_missing_database_is_one_clear_error_and_exit_code_4(tmp_path: Path, port: int) -> None:
    gone = environment(tmp_path, "postgresql://pm:secret@127.0.0.1:1/pm")
    done = subprocess.run(command(port), env=gone, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert done.stderr.startswith("error: expected a database at ")
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
