from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.store.migrate import Applied, pending, read_migrations


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text, encoding="utf-8")
    return folder


def as_applied(folder: Path) -> list[Applied]:
    return [Applied(m.version, m.name, m.sha256) for m in read_migrations(folder)]


def test_migrations_come_by_number(tmp_path: Path) -> None:
    folder = write(tmp_path, m0010_add_b="B", m0002_add_a="A")
    assert [m.name for m in read_migrations(folder)] == ["0002_add_a.sql", "0010_add_b.sql"]


def test_only_what_is_not_in_the_journal_is_pending(tmp_path: Path) -> None:
    done = as_applied(write(tmp_path, m0001_add_a="A"))
    write(tmp_path, m0002_add_b="B")
    assert [m.name for m in pending(read_migrations(tmp_path), done, tmp_path)] == ["0002_add_b.sql"]


def test_an_edited_migration_names_its_file(tmp_path: Path) -> None:
    done = as_applied(write(tmp_path, m0001_add_a="A"))
    write(tmp_path, m0001_add_a="A ")
    with pytest.raises(ConfigError, match=r"0001_add_a\.sql"):
        pending(read_migrations(tmp_path), done, tmp_path)


def test_line_ends_of_a_checkout_are_no_edit(tmp_path: Path) -> None:
    (tmp_path / "0001_add_a.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    done = as_applied(tmp_path)
    (tmp_path / "0001_add_a.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    assert pending(read_migrations(tmp_path), done, tmp_path) == ()


def test_a_renamed_migration_is_an_edit(tmp_path: Path) -> None:
    done = as_applied(write(tmp_path, m0001_add_a="A"))
    (tmp_path / "0001_add_a.sql").rename(tmp_path / "0001_add_z.sql")
    with pytest.raises(ConfigError, match=r"0001_add_z\.sql.*0001_add_a\.sql"):
        pending(read_migrations(tmp_path), done, tmp_path)


def test_a_missing_applied_migration_names_its_file(tmp_path: Path) -> None:
    done = [*as_applied(write(tmp_path, m0001_add_a="A")), Applied(2, "0002_add_b.sql", "0")]
    with pytest.raises(ConfigError, match=r"expected 0002_add_b\.sql .* but got no such file"):
        pending(read_migrations(tmp_path), done, tmp_path)


def test_a_new_migration_below_an_applied_one_is_refused(tmp_path: Path) -> None:
    done = as_applied(write(tmp_path, m0002_add_b="B"))
    write(tmp_path, m0001_add_a="A")
    with pytest.raises(ConfigError, match=r"above 0002, but got .*0001_add_a\.sql"):
        pending(read_migrations(tmp_path), done, tmp_path)


@pytest.mark.parametrize("name", ["1_add_a.sql", "0001-add-a.sql", "0001_add.sql", "0001_Add_a.sql"])
def test_a_file_name_of_another_form_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1", encoding="utf-8")
    with pytest.raises(ConfigError, match="NNNN_verb_object"):
        read_migrations(tmp_path)


def test_one_number_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, m0001_add_a="A", m0001_add_b="B")
    with pytest.raises(ConfigError, match=r"0001_add_a\.sql and 0001_add_b\.sql"):
        read_migrations(tmp_path)


@pytest.mark.parametrize("folder", [".", "none"])
def test_a_folder_without_migrations_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ConfigError, match="but got none"):
        read_migrations(tmp_path / folder)
