"""Where things are: the environment, read once at an entrance and handed down.

What belongs here: addresses and folders (`PM_*`). What is decided is `pm.policy`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pm.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Places this process uses; every folder is absolute."""

    project: Path
    """The folder that holds `config/`, `dbc/` and `sql/`."""
    home: Path
    """Everything the product writes: server, artifacts, archive, inbox."""
    database_url: str | None
    """`PM_DATABASE_URL`; None: the private server."""
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    dagster_port: int = 3000
    inbox_folder: Path | None = None
    """`PM_INBOX`; None: `inbox` below `home`."""
    archive_address: str | None = None
    """`PM_ARCHIVE`: folder, or fsspec address such as s3://bucket/logs; None: `archive` below `home`."""
    first_day: date = date(2025, 10, 6)
    """`PM_FIRST_DAY`: the first daily partition."""
    feature_file: Path | None = None
    """`PM_FEATURE_FILE`, or features.toml of `PM_CONFIG`: features of other units; None: the shipped truck set."""
    config_folders: tuple[Path, ...] = ()
    """`PM_CONFIG`: folders whose policy.toml and failure_rules.toml stand in for the project's; the first that has
    the file."""

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def inbox(self) -> Path:
        return self.inbox_folder or self.home / "inbox"

    @property
    def archive(self) -> str:
        """Where raw files are kept: a folder or an fsspec address."""
        return self.archive_address or str(self.home / "archive")

    @property
    def upkeep_file(self) -> Path:
        return self.project / "config" / "upkeep.toml"

    @property
    def policy_file(self) -> Path:
        return self._config("policy.toml")

    @property
    def failure_rules_file(self) -> Path:
        return self._config("failure_rules.toml")

    def _config(self, name: str) -> Path:
        folders = (*self.config_folders, self.project / "config")
        return next((folder / name for folder in folders if (folder / name).exists()), folders[-1] / name)

    @property
    def dbc_files(self) -> tuple[Path, ...]:
        return tuple(sorted((self.project / "dbc").glob("*.dbc")))


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Names: `PM_PROJECT`, `PM_HOME`, `PM_INBOX`, `PM_ARCHIVE`, `PM_DATABASE_URL`, `PM_DATABASE_PASSWORD_FILE`,
    `PM_API_HOST`, `PM_API_PORT`, `PM_DAGSTER_PORT`, `PM_FIRST_DAY`, `PM_FEATURE_FILE`, `PM_CONFIG`.

    Raises:
        ConfigError: PM_CONFIG names no folder, a day is not of the form YYYY-MM-DD, or a port is not a whole number
            from 1 to 65535.
    """
    given = os.environ if environment is None else environment
    project = Path(given.get("PM_PROJECT") or Path(__file__).resolve().parent.parent).resolve()
    return Settings(
        project=project,
        home=Path(given.get("PM_HOME") or project / ".pm").resolve(),
        database_url=_database_url(given),
        api_host=given.get("PM_API_HOST") or "127.0.0.1",
        api_port=_port(given, "PM_API_PORT", 8080),
        dagster_port=_port(given, "PM_DAGSTER_PORT", 3000),
        first_day=_day(given, "PM_FIRST_DAY", date(2025, 10, 6)),
        inbox_folder=Path(given["PM_INBOX"]).resolve() if given.get("PM_INBOX") else None,
        archive_address=_archive(given),
        feature_file=_feature_file(given),
        config_folders=_config_folders(given),
    )


def _config_folders(given: Mapping[str, str]) -> tuple[Path, ...]:
    folders = tuple(Path(name) for name in (given.get("PM_CONFIG") or "").split(os.pathsep) if name)
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"PM_CONFIG: expected folders, but got {folder}")
    return tuple(folder.resolve() for folder in folders)


def _feature_file(given: Mapping[str, str]) -> Path | None:
    """`PM_FEATURE_FILE`, or features.toml of the first folder of `PM_CONFIG` that has one."""
    if given.get("PM_FEATURE_FILE"):
        return Path(given["PM_FEATURE_FILE"]).resolve()
    files = (folder / "features.toml" for folder in _config_folders(given))
    return next((file for file in files if file.exists()), None)


def _archive(given: Mapping[str, str]) -> str | None:
    """An fsspec address as it is; a folder made absolute."""
    address = given.get("PM_ARCHIVE")
    return str(Path(address).resolve()) if address and "://" not in address else address or None


def _port(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ConfigError(f"{name}: expected a port from 1 to 65535, but got {text!r}")
    return int(text)


def _day(given: Mapping[str, str], name: str, default: date) -> date:
    text = given.get(name) or default.isoformat()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name}: expected a day such as 2026-01-05, but got {text!r}") from None


def _database_url(given: Mapping[str, str]) -> str | None:
    """`PM_DATABASE_URL`, with the password from `PM_DATABASE_PASSWORD_FILE` where that is set."""
    url, secret = given.get("PM_DATABASE_URL"), given.get("PM_DATABASE_PASSWORD_FILE")
    if not url or not secret:
        return url or None
    try:
        password = Path(secret).read_text(encoding="utf-8").strip()
    except OSError as reason:
        raise ConfigError(f"PM_DATABASE_PASSWORD_FILE: expected a readable file, but got: {reason}") from None
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.split(':')[0]}:{quote(password, safe='')}@{host}"))
