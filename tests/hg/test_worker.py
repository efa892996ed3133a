"""What a worker does where something is wrong with ourselves."""

from __future__ import annotations

from pathlib import Path

from mercurial import dispatch  # noqa: F401 - 7.2 needs it first

from hgext_delegate.delivery import worker
from hgext_delegate.state import files


def test_a_bug_is_written_through_no_link(tmp_path: Path) -> None:
    victim = tmp_path / 'victim'
    victim.write_text('whole')
    (tmp_path / 'traceback').symlink_to(victim)
    file = files.File(str(tmp_path), 'traceback')
    said = worker.internal_error(file, KeyError('x'))
    assert said.reason == 'internal error: KeyError'
    assert victim.read_text() == 'whole'
    (tmp_path / 'traceback').unlink()
    worker.internal_error(file, KeyError('x'))
    assert (tmp_path / 'traceback').stat().st_mode & 0o777 == 0o600
