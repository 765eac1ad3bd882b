"""One private PostgreSQL: its data directory, configuration and process.

What belongs here: initdb, pg_ctl, the port and the password of one engine. Which engine is
chosen is `pm.store.server`; where its files are is `pm.store.server_place`. The caller holds the
place's lock around everything here that writes.
"""

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pm.errors import StoreError
from pm.store.server_place import Account, Engine, blocking_folder, give, make_folder, read_record, replace_text

USER: Final = "pm"
DATABASE: Final = "pm"
HOST: Final = "127.0.0.1"

_MIB: Final = 1 << 20
_LOG_LIMIT_BYTES: Final = 16 * _MIB
_ATTEMPTS: Final = 3

# For 2 cores beside Python; facts are durable, so fsync and synchronous_commit stay on.
_OPTIONS: Final[Mapping[str, str]] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "1GB",
    "max_wal_size": "2GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "max_worker_processes": "16",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
_TIMESCALEDB_OPTIONS: Final[Mapping[str, str]] = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    # The other build knows only pglz, which took a quarter of the server's time when files went in.
    "wal_compression": "lz4",
    # The Apache edition has no policies to run, and an idle scheduler in each database blocks copying it.
    "timescaledb.max_background_workers": "0",
}


@dataclass(frozen=True)
class Cluster:
    """The files of one engine below its place."""

    engine: Engine
    folder: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "server.log"

    @property
    def configuration(self) -> Path:
        # Outside the data directory: what root writes must not stand where another user can plant a link.
        return self.folder / "postgresql.conf"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def record(self) -> Path:
        return self.folder / "server.json"

    @property
    def port(self) -> int | None:
        """The port of the last start; None before the first."""
        port = read_record(self.record).get("port")
        return port if isinstance(port, int) else None

    @property
    def programs(self) -> Path | None:
        """The programs of the last start; None before the first."""
        programs = read_record(self.record).get("programs")
        return Path(programs) if isinstance(programs, str) else None

    @property
    def url(self) -> str | None:
        """Address with the password; None before the first start."""
        if self.port is None:
            return None
        return f"postgresql://{USER}:{_read_password(self)}@{HOST}:{self.port}/{DATABASE}"


def _read_password(cluster: Cluster) -> str:
    try:
        return cluster.password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreError(
            f"expected the server's password in {cluster.password_file}, but got: {error.strerror}"
        ) from None


def initialise(cluster: Cluster, programs: Path) -> None:
    """Makes the data directory unless it is there; whole or not at all."""
    make_folder(cluster.folder, cluster.account)
    make_folder(cluster.log.parent, cluster.account)
    give(cluster.log.parent, cluster.account)
    if cluster.data.exists():
        return
    password = secrets.token_urlsafe(24)
    replace_text(cluster.password_file, f"{password}\n", mode=0o600)
    draft, secret = cluster.folder / "data.new", cluster.folder / "initdb.password"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    give(draft, cluster.account)
    try:
        replace_text(secret, f"{password}\n", mode=0o600)
        give(secret, cluster.account)
        _initdb(cluster, programs, draft, secret)
    finally:
        secret.unlink(missing_ok=True)
    draft.rename(cluster.data)


def _initdb(cluster: Cluster, programs: Path, data: Path, secret: Path) -> None:
    # PostgreSQL's own C.UTF-8: the same order and case rules on every system, and Polars' order of text.
    done = _run(
        cluster,
        [
            programs / "initdb",
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ],
    )
    if done.returncode != 0:
        raise StoreError(f"expected initdb to create {data}, but got: {' '.join(done.stdout.split())}")


def start(cluster: Cluster, programs: Path, options: Mapping[str, str]) -> None:
    """Starts the postmaster, detached, and waits until it answers; recovers after a crash.

    `options` are server parameters beside and above the usual ones. Raises StoreError with the
    end of the log where the server does not come up.
    """
    blocking = blocking_folder(cluster.data, cluster.account)
    if blocking is not None and cluster.account is not None:
        raise StoreError(f"expected a folder that user {cluster.account.name} may enter, but got {blocking}")
    _read_password(cluster)
    _clear_after_crash(cluster)
    _turn_log(cluster)
    said = ""
    for _ in range(_ATTEMPTS):
        port = _choose_port(cluster.port)
        replace_text(cluster.record, json.dumps({"port": port, "programs": str(programs)}) + "\n", mode=0o644)
        replace_text(cluster.configuration, _configuration(cluster.engine, port, options), mode=0o644)
        said = _pg_ctl_start(cluster, programs)
        if not said:
            return
        if _is_free(port):
            break  # not a matter of the port
    raise StoreError(f"expected PostgreSQL to start from {cluster.data}, but got: {said} (log: {cluster.log})")


def _pg_ctl_start(cluster: Cluster, programs: Path) -> str:
    """Empty where it runs, else what the log says."""
    before = cluster.log.stat().st_size if cluster.log.exists() else 0
    given = shlex.quote(f"config_file={cluster.configuration}")
    # A long limit: recovery after a crash replays up to max_wal_size.
    done = _run(
        cluster,
        [
            programs / "pg_ctl",
            "start",
            "-w",
            "-s",
            "-t",
            "300",
            "-D",
            cluster.data,
            "-l",
            cluster.log,
            "-o",
            f"-c {given}",
        ],
    )
    if done.returncode == 0:
        return ""
    lines = _read_log(cluster, before) or done.stdout.splitlines()
    telling = [line for line in lines if any(word in line for word in ("FATAL", "ERROR", "HINT", "PANIC", "parameter"))]
    return "; ".join(line.strip() for line in (telling or lines)[-4:]) or f"exit code {done.returncode}"


def _read_log(cluster: Cluster, offset: int) -> list[str]:
    try:
        return cluster.log.read_bytes()[offset:].decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _configuration(engine: Engine, port: int, options: Mapping[str, str]) -> str:
    own = {"port": str(port), **_OPTIONS, **(_TIMESCALEDB_OPTIONS if engine == "timescaledb" else {}), **options}
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in own.items()]
    return "# Written at every start; a change here is lost.\n" + "\n".join(lines) + "\n"


def stop(cluster: Cluster, programs: Path) -> bool:
    """Stops the server, rolling back what is open; False where it did not run."""
    if postmaster_pid(cluster) is None:
        return False
    done = _run(cluster, [programs / "pg_ctl", "stop", "-m", "fast", "-w", "-s", "-t", "120", "-D", cluster.data])
    if done.returncode != 0 and postmaster_pid(cluster) is not None:
        said = " ".join(done.stdout.split())
        raise StoreError(f"expected PostgreSQL in {cluster.data} to stop, but got: {said} (log: {cluster.log})")
    return True


def postmaster_pid(cluster: Cluster) -> int | None:
    """Process id of the running server of this data directory, else None."""
    try:
        pid = int((cluster.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_alive(pid) and _works_in(pid, cluster.data) is not False else None


def runs(cluster: Cluster) -> bool:
    """Whether the server runs; one that is just coming up or dying is waited for."""
    for _ in range(50):
        if postmaster_pid(cluster) is None:
            return False
        if cluster.port is not None and _accepts(cluster.port):
            return True
        time.sleep(0.1)
    return True


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _works_in(pid: int, data: Path) -> bool | None:
    """Whether the process's working directory is `data`, as every PostgreSQL process's is; None: unknown."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(data)
    except FileNotFoundError:
        # A dead process that nobody has buried yet still has an entry, but works nowhere.
        return False if Path("/proc/self").exists() else None
    except OSError:
        return None


def _clear_after_crash(cluster: Cluster) -> None:
    """Waits for the last processes of a killed server, then drops a lock file that names a foreign process.

    A process id is used again after a reboot; PostgreSQL would take that process for its own and
    refuse to start.
    """
    for _ in range(100):
        if not _processes_in(cluster.data):
            break
        time.sleep(0.1)
    else:
        return
    lock_file = cluster.data / "postmaster.pid"
    if lock_file.exists() and postmaster_pid(cluster) is None:
        pid = lock_file.read_text(encoding="utf-8").split("\n", 1)[0]
        if pid.isdigit() and _is_alive(int(pid)):
            lock_file.unlink()


def _processes_in(data: Path) -> list[int]:
    """Processes whose working directory is `data`; empty where the system has no /proc."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _works_in(int(entry.name), data)]


def _choose_port(remembered: int | None) -> int:
    if remembered is not None and _is_free(remembered):
        return remembered
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As PostgreSQL does it: closed connections of the last run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _turn_log(cluster: Cluster) -> None:
    if cluster.log.exists() and cluster.log.stat().st_size > _LOG_LIMIT_BYTES:
        cluster.log.replace(cluster.log.with_suffix(".log.1"))


def _run(cluster: Cluster, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Runs one of PostgreSQL's programs as the server's user, untouched by the caller's PG* variables."""
    account = cluster.account
    try:
        return subprocess.run(  # noqa: S603 - no shell; our own programs and paths
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd=cluster.folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except OSError as error:
        raise StoreError(f"expected to run {command[0]}, but got: {error}") from None
