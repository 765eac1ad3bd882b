"""docker-compose.yml agrees with the commands and settings it uses; no Docker engine is needed."""

from pathlib import Path

import click
import pytest
import yaml

from pm.cli.app import group
from pm.settings import read_settings

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = [name for name, service in COMPOSE["services"].items() if service.get("build")]


@pytest.mark.parametrize("name", OURS)
def test_a_services_command_is_one_of_pm_and_its_options_parse(name):
    program, verb, *arguments = COMPOSE["services"][name]["command"]
    assert program == "pm"
    command = group.get_command(click.Context(group), verb)
    assert command is not None
    with click.Context(command) as context:
        command.parse_args(context, arguments)


@pytest.mark.parametrize("name", OURS)
def test_a_services_environment_is_understood(name, tmp_path):
    secret = tmp_path / "database_password"
    secret.write_text("a b", encoding="utf-8")
    environment = dict(COMPOSE["services"][name]["environment"])
    assert environment["PM_DATABASE_PASSWORD_FILE"] == "/run/secrets/database_password"
    settings = read_settings({**environment, "PM_DATABASE_PASSWORD_FILE": str(secret)})
    assert settings.database_url == "postgresql://pm:a%20b@database:5432/pm"
    assert str(settings.home) in str(COMPOSE["services"][name]["volumes"])


def test_ports_are_published_on_loopback_only():
    for service in COMPOSE["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
