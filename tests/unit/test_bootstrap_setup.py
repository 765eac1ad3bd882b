"""Set-up: what marks a finished environment, what is redone, and the project's own `pm` script."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pm_bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slow steps, replaced by notes of having been called."""
    called: list[str] = []

    def make(venv: Path) -> None:
        called.append("make")
        venv.mkdir(exist_ok=True)

    monkeypatch.setattr(bootstrap, "_make_environment", make)
    monkeypatch.setattr(bootstrap, "_install", lambda *_: called.append("install"))
    monkeypatch.setattr(bootstrap, "link_project", lambda *_: None)
    return called


def test_a_second_set_up_does_nothing_and_a_changed_lock_does_all_again(
    bootstrap: ModuleType, steps: list[str], tmp_path: Path
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    for _ in range(2):
        assert bootstrap._set_up(tmp_path / ".venv", lock) == 0
    assert steps == ["make", "install"]
    lock.write_text("a==2\n")
    bootstrap._set_up(tmp_path / ".venv", lock)
    assert steps == ["make", "install"] * 2


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_an_unfinished_install_is_not_marked_as_ready(
    bootstrap: ModuleType, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")

    def interrupted(venv: Path, lock: Path) -> None:
        raise end

    with monkeypatch.context() as broken:
        broken.setattr(bootstrap, "_install", interrupted)
        with pytest.raises(end):
            bootstrap._set_up(tmp_path / ".venv", lock)
    bootstrap._set_up(tmp_path / ".venv", lock)
    assert steps == ["make", "make", "install"]


def test_pip_does_not_outlive_an_interruption(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(process: subprocess.Popen[bytes], *rest: object) -> None:
        started.append(process)
        raise KeyboardInterrupt

    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    monkeypatch.setattr(bootstrap, "_pip", lambda _: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(bootstrap, "_show_progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap._install(tmp_path, lock)
    assert started[0].poll() is not None


def test_pips_own_words_are_shown_when_it_fails(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n")
    command = [sys.executable, "-c", "import sys; sys.exit('ERROR: no matching distribution for a==1')"]
    monkeypatch.setattr(bootstrap, "_pip", lambda _: command)
    with pytest.raises(bootstrap.SetupError, match="no matching distribution for a==1"):
        bootstrap._install(tmp_path, lock)


def test_a_folder_that_is_no_environment_is_left_alone(bootstrap: ModuleType, tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    venv.mkdir()
    (venv / "diary.txt").write_text("mine")
    with pytest.raises(bootstrap.SetupError, match="expected a virtual environment or nothing"):
        bootstrap._make_environment(venv)
    assert (venv / "diary.txt").read_text() == "mine"


def test_the_mark_depends_on_lock_python_and_place(bootstrap: ModuleType) -> None:
    texts = {
        bootstrap.stamp_text(lock, version, Path(venv))
        for lock in (b"a==1", b"a==2")
        for version in ("3.11.2", "3.13.5")
        for venv in ("/here/.venv", "/there/.venv")
    }
    assert len(texts) == 8


def test_progress_counts_what_pip_has_said(bootstrap: ModuleType) -> None:
    log = "Ignoring colorama: markers\nCollecting a==1 (from -r)\n  Downloading a\nProcessing /wheels/b.whl\n"
    assert bootstrap.progress_text(log, 0, 4) == "set-up: packages fetched 2 of 3"
    log += "Installing collected packages: a, b, c\n"
    assert bootstrap.progress_text(log, 1, 4) == "set-up: packages installed 1 of 3"


def test_the_script_runs_the_project_from_a_path_with_spaces(bootstrap: ModuleType, tmp_path: Path) -> None:
    venv = tmp_path / "my trucks" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    project = tmp_path / "my trucks"
    (project / "pm").mkdir()
    (project / "pm" / "__init__.py").write_text("")
    (project / "pm" / "cli.py").write_text("import sys\ndef main():\n    print(sys.argv[1:])\n    return 3\n")
    (project / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for _ in range(2):
        bootstrap.link_project(venv, project)
    done = subprocess.run([venv / "bin" / "pm", "a b", "c"], capture_output=True, text=True, check=False, cwd="/")
    assert (done.stdout, done.returncode) == ("['a b', 'c']\n", 3)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    asked = "import importlib.metadata as m; print(m.version('pm'), m.entry_points(name='pm'))"
    said = subprocess.run([venv / "bin" / "python", "-c", asked], capture_output=True, text=True, check=True, cwd="/")
    assert said.stdout.startswith(f"{declared} ")
    assert "pm.cli:main" in said.stdout
