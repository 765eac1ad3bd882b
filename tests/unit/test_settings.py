"""Where things are."""

import os

import pytest

from pm.errors import ConfigError
from pm.settings import read_settings


def test_defaults_are_on_loopback_and_below_the_project(tmp_path):
    settings = read_settings({"PM_PROJECT": str(tmp_path)})
    assert settings.api_host == "127.0.0.1"
    assert settings.home == tmp_path / ".pm"
    assert settings.inbox == settings.home / "inbox"
    assert settings.database_url is None


def test_the_password_comes_from_a_file_and_is_quoted(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("p@ss/word\n", encoding="utf-8")
    environment = {"PM_DATABASE_URL": "postgresql://pm@db:5432/pm", "PM_DATABASE_PASSWORD_FILE": str(secret)}
    assert read_settings(environment).database_url == "postgresql://pm:p%40ss%2Fword@db:5432/pm"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PM_API_PORT": "http"}, "PM_API_PORT: expected a port from 1 to 65535, but got 'http'"),
        ({"PM_DAGSTER_PORT": "70000"}, "PM_DAGSTER_PORT"),
        ({"PM_FIRST_DAY": "5.1.2026"}, "PM_FIRST_DAY: expected a day such as 2026-01-05"),
        ({"PM_DATABASE_URL": "postgresql://pm@db/pm", "PM_DATABASE_PASSWORD_FILE": "/nowhere"}, "PASSWORD_FILE"),
    ],
)
def test_what_cannot_be_used_is_named(environment, said):
    with pytest.raises(ConfigError, match=said):
        read_settings(environment)


def test_the_archive_is_a_folder_made_absolute_or_an_address_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = read_settings({"PM_HOME": "there"})
    assert home.archive == str(tmp_path / "there" / "archive")
    assert read_settings({"PM_ARCHIVE": "kept"}).archive == str(tmp_path / "kept")
    assert read_settings({"PM_ARCHIVE": "s3://bucket/logs"}).archive == "s3://bucket/logs"


def test_folders_of_configuration_stand_in_for_the_projects_where_they_have_the_file(tmp_path):
    first, second = tmp_path / "any", tmp_path / "plain"
    for folder, names in ((first, ["failure_rules.toml"]), (second, ["failure_rules.toml", "features.toml"])):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    found = read_settings({"PM_CONFIG": os.pathsep.join(map(str, (first, second)))})
    assert found.failure_rules_file == first / "failure_rules.toml"
    assert found.feature_file == second / "features.toml"
    assert found.policy_file == found.project / "config" / "policy.toml"
    assert read_settings({}).feature_file is None
    with pytest.raises(ConfigError, match="PM_CONFIG: expected folders, but got"):
        read_settings({"PM_CONFIG": str(tmp_path / "absent")})
