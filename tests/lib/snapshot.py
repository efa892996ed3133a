"""All that is in a folder, to see whether anything has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tree(folder: Path) -> dict[Path, Any]:
    """All that is in FOLDER: mode, time and content by name."""
    return {
        path: (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.is_file() and path.read_bytes(),
        )
        for path in folder.rglob('*')
    }


def contents(folder: Path) -> dict[Path, Any]:
    """Mode and content: a lock that came and went has changed nothing."""
    return {
        path: (mode, data) for path, (mode, _, data) in tree(folder).items()
    }
