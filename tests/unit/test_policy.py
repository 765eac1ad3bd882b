"""The policy file: read, refused, hashed."""

from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.policy import Policy, load_policy

PROJECT = Path(__file__).resolve().parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_policy_holds_the_defaults():
    assert load_policy(PROJECT / "config" / "policy.toml") == Policy()


def test_the_hash_changes_with_any_value_and_with_nothing_else(tmp_path):
    same = load_policy(written(tmp_path, "[horizon]\ndays = 14\n"))
    other = load_policy(written(tmp_path, "[costs]\nneedless_visit = 351\n"))
    assert same.policy_id == Policy().policy_id
    assert other.policy_id != same.policy_id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[horizon", "expected readable TOML"),
        ("[weather]\n", r"expected sections .* but got \['weather'\]"),
        ("[horizon]\nweeks = 2\n", r"expected keys \['days'\] in \[horizon\], but got weeks"),
        ("[horizon]\ndays = '14'\n", r"\[horizon\] days: expected int, but got '14'"),
        ("[features]\nwindows_d = [1, -3]\n", "windows_d: expected tuple"),
        ("[backtest]\nembargo_d = 3\n", "embargo_d: expected at least the horizon"),
        ("[labels]\nlag_quantile = 1.0\n", "lag_quantile: expected between 0 and 1"),
        ("[audit]\nfolds = 0\n", r"\[audit\] folds: expected at least 1"),
        ("[audit]\nsudden_loss = 1.5\n", r"\[audit\] sudden_loss: expected above 0, 1 or less"),
        ("[audit]\npermutations = 50\n", r"\[audit\] permutations: expected enough for a p-value"),
        ("[audit]\nolder_d = []\n", r"\[audit\] older_d: expected at least one shift"),
    ],
)
def test_what_cannot_hold_is_refused_with_file_and_key(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as refused:
        load_policy(written(tmp_path, text))
    assert "policy.toml" in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.toml"):
        load_policy(tmp_path / "nowhere.toml")
