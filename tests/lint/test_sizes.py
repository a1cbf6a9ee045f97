from __future__ import annotations

from pathlib import Path

from lint.sizes import MOST_LINES, too_long


def test_a_long_file_is_told_unless_it_says_why(tmp_path: Path) -> None:
    """One line more than there may be is found; a reason lets it pass, an empty one does not."""
    (tmp_path / "short.py").write_text("x = 1\n" * MOST_LINES)
    (tmp_path / "long.py").write_text("x = 1\n" * (MOST_LINES + 1))
    (tmp_path / "reasoned.py").write_text("# longer than 400 lines: a table that is read as one\n" + "x = 1\n" * 500)
    (tmp_path / "excused.py").write_text("# longer than 400 lines: \n" + "x = 1\n" * 500)
    assert [path.name for path, _ in too_long(tmp_path)] == ["excused.py", "long.py"]
