"""A file that appears whole, for its owner alone, and through no link."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from consilience.data.whole_file import whole_file


def write(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"new")


def test_only_its_owner_may_read_it_unless_it_was_open_before(tmp_path: Path) -> None:
    fresh, older = tmp_path / "fresh", tmp_path / "older"
    older.write_text("old")
    older.chmod(0o644)
    for path, mode in ((fresh, 0o600), (older, 0o644)):
        write(path)
        assert path.read_bytes() == b"new"
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["kept"] and path.read_text() == "old"


def test_a_link_that_somebody_left_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / "out.7.part").symlink_to(victim)
    with pytest.raises(OSError, match=r"out\.7\.part"):
        write(tmp_path / "out")
    assert victim.read_text() == "mine"
