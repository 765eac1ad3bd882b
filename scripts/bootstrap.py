"""Set-up on a fresh machine: `.venv` with the locked packages, and this project on its path.

Run by the system's own `python3` with nothing installed, as root or not; a second run returns at once.
Where packages come from is the machine's own pip configuration; nothing here names an index.

The project itself is put on the path with a `.pth` file, a `pm` script and a metadata folder, and not
with `pip install -e .`: that runs the build backend, which is not in the lock file and would have to be
fetched unlocked, while nothing here needs to be built.

Exit codes: 0 ready, 2 this Python cannot be used, 4 the packages cannot be had, 130 interrupted.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - the point is to say so on an older one
    print(f"expected Python 3.11 or later, but got {sys.version.split()[0]}: use make PYTHON=...", file=sys.stderr)
    sys.exit(2)

PROJECT = Path(__file__).resolve().parent.parent
LAYOUT = "1"

SCRIPT = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys

from pm.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""


class SetupError(Exception):
    """What could not be set up; the message is for the person at the keyboard."""


def main() -> int:
    """Makes `.venv` ready; returns the exit code."""
    sys.stdout.reconfigure(line_buffering=True)
    try:
        with _one_at_a_time():
            return _set_up(PROJECT / ".venv", PROJECT / "requirements.lock")
    except SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("\nset-up interrupted; run it again to finish", file=sys.stderr)
        return 130


def _set_up(venv: Path, lock: Path) -> int:
    wanted = stamp_text(lock.read_bytes(), sys.version, venv)
    stamp = venv / "pm-ready"
    if stamp.is_file() and stamp.read_text() == wanted:
        link_project(venv, PROJECT)
        return 0
    started = time.monotonic()
    _make_environment(venv)
    _install(venv, lock)
    link_project(venv, PROJECT)
    stamp.write_text(wanted)
    print(f"set-up: ready in {time.monotonic() - started:.0f} s")
    return 0


def stamp_text(lock: bytes, python_version: str, venv: Path) -> str:
    """What a finished environment is marked with: anything else found there is made anew."""
    return f"{LAYOUT}\n{hashlib.sha256(lock).hexdigest()}\n{python_version}\n{venv}\n"


@contextlib.contextmanager
def _one_at_a_time():
    """Holds the project folder's lock, so that a second set-up waits for the first."""
    descriptor = os.open(PROJECT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_environment(venv: Path) -> None:
    if venv.exists() and not (venv / "pyvenv.cfg").is_file():
        raise SetupError(f"expected a virtual environment or nothing at {venv}, but got something else")
    if venv.exists():
        print("set-up: the environment is unfinished or out of date, making it anew")
        shutil.rmtree(venv)
    print(f"set-up: virtual environment for Python {sys.version.split()[0]}")
    _run([sys.executable, "-m", "venv", *([] if _has_ensurepip() else ["--without-pip"]), str(venv)])


def _has_ensurepip() -> bool:
    """False on Debian without the package python3-venv."""
    return importlib.util.find_spec("ensurepip") is not None


def _pip(venv: Path) -> list[str]:
    """The command that runs pip in the environment: its own, or the wheel of Debian's python3-pip-whl."""
    if _has_ensurepip():
        return [str(venv / "bin" / "python"), "-m", "pip"]
    sys.path.insert(0, str(PROJECT))
    from pm.errors import PmError
    from pm.store import debian

    try:
        tree = debian.unpack(("python3-pip-whl",), venv / "debian-pip", say=lambda text: print(f"set-up: {text}"))
    except PmError as error:
        raise SetupError(
            f"this Python has no pip (install python3-venv), and Debian's could not be had: {error}"
        ) from error
    wheels = sorted(tree.glob("usr/share/python-wheels/pip-*.whl"))
    if not wheels:
        raise SetupError(f"expected a pip wheel in python3-pip-whl, but got none below {tree}")
    return [str(venv / "bin" / "python"), str(wheels[-1] / "pip")]


def _install(venv: Path, lock: Path) -> None:
    """Installs exactly what the lock file names; pip's own words are shown only when it fails."""
    log = venv / "install.log"
    command = [*_pip(venv), "install", "--no-deps", "--require-hashes", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--requirement", str(lock)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            _show_progress(process, log, venv, len(re.findall(r"(?m)^[\w.-]+==", lock.read_text())))
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        words = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise SetupError(
            f"pip could not install {lock.name} (exit code {process.returncode}), its last words:\n{words}"
        )


def _show_progress(process, log: Path, venv: Path, n_locked: int) -> None:
    """One line that counts packages while pip works; without a terminal, a line every 20 seconds."""
    live = sys.stdout.isatty()
    shown, shown_at = "", time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        text = progress_text(log.read_text(errors="replace"), _count_installed(venv), n_locked)
        if text != shown and (live or time.monotonic() - shown_at > 20):
            print(f"\r\x1b[K{text}" if live else text, end="" if live else "\n", flush=True)
            shown, shown_at = text, time.monotonic()
    if live:
        print("\r\x1b[K", end="", flush=True)


def _count_installed(venv: Path) -> int:
    return sum(1 for _ in venv.glob("lib/python*/site-packages/*.dist-info"))


def progress_text(log: str, n_installed: int, n_locked: int) -> str:
    """How far pip is, from what it has said so far and the packages that stand in the environment."""
    n_wanted = n_locked - len(re.findall(r"(?m)^Ignoring ", log))
    if "Installing collected packages" in log:
        return f"set-up: packages installed {min(n_installed, n_wanted)} of {n_wanted}"
    # Both words can be said of one package: a local file is first collected, then processed.
    n_fetched = len(re.findall(r"(?m)^(?:Collecting|Processing) ", log))
    return f"set-up: packages fetched {min(n_fetched, n_wanted)} of {n_wanted}"


def link_project(venv: Path, project: Path) -> None:
    """Puts the project on the environment's path, with its `pm` script and its metadata."""
    import tomllib

    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    name, version = declared["name"], declared["version"]
    site = next(venv.glob("lib/python*/site-packages"))
    for old in site.glob(f"{name}-*.dist-info"):
        if old.name != f"{name}-{version}.dist-info":
            shutil.rmtree(old)
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    script = venv / "bin" / name
    _write(site / f"{name}-project.pth", f"{project}\n")
    _write(metadata / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    _write(metadata / "INSTALLER", "scripts/bootstrap.py\n")
    _write(metadata / "entry_points.txt", f"[console_scripts]\n{name} = {declared['scripts'][name]}\n")
    _write(script, SCRIPT.format(python=venv / "bin" / "python"))
    script.chmod(0o755)


def _write(path: Path, text: str) -> None:
    """Writes only what is not there already, so that a user who may only read can start the product."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
