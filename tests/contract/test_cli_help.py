"""Every command says what it does, and an error leaves the process as documented."""

import subprocess
import sys

import click
import pytest

from pm.cli.app import COMMANDS, group


def every_command(command: click.Command, name: str = "pm") -> list[tuple[str, click.Command]]:
    found = [(name, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            loaded = command.get_command(context, child)
            assert loaded is not None
            found += every_command(loaded, f"{name} {child}")
    return found


def test_every_listed_command_loads_and_every_option_has_help():
    silent = []
    for name, command in every_command(group):
        assert command.help, f"{name} says nothing of itself"
        silent += [
            f"{name} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not option.help
        ]
    assert silent == []


def test_a_command_that_prints_figures_prints_them_as_json_too():
    without = [
        name
        for name, command in every_command(group)
        if not isinstance(command, click.Group) and "--json" not in [opt for p in command.params for opt in p.opts]
    ]
    assert sorted(without) == [
        "pm dagster",
        "pm db start",
        "pm db stop",
        "pm db url",
        "pm demo",
        "pm serve",
        "pm vehicle add",
    ]


def test_help_lists_the_commands_in_the_order_a_newcomer_needs_them(capsys):
    with pytest.raises(SystemExit):
        group.main(["--help"])
    printed = capsys.readouterr().out
    at = [printed.index(f"  {name} ") for name in COMMANDS]
    assert at == sorted(at)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["decode", "nowhere.log", "--dbc", "nowhere.dbc", "--out", "out"], 2, "nowhere.dbc"),
        (["decode"], 2, "Missing argument"),
        (["no-such-command"], 2, "No such command"),
        (["rank", "--top", "0"], 2, "--top"),
    ],
)
def test_an_error_is_one_sentence_and_its_exit_code(tmp_path, arguments, exit_code, said):
    ran = subprocess.run(
        [sys.executable, "-m", "pm", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == exit_code
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_database_is_exit_4_without_its_password(tmp_path):
    url = "postgresql://pm:secret@127.0.0.1:1/pm"
    ran = subprocess.run(
        [sys.executable, "-m", "pm", "rank"],
        env={"PM_DATABASE_URL": url, "PM_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 4
    assert "Traceback" not in ran.stderr
    assert "secret" not in ran.stderr
