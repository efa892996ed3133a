"""What a worker does where something is wrong with ourselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from mercurial import dispatch  # noqa: F401 - 7.2 needs it first

from hgext_delegate.delivery import worker as workermod


def test_a_bug_is_written_through_no_link(tmp_path: Path) -> None:
    victim = tmp_path / 'victim'
    victim.write_text('whole')
    (tmp_path / 'traceback').symlink_to(victim)
    worker = SimpleNamespace(paths=SimpleNamespace(folder=str(tmp_path)))
    said = workermod.Worker._internal(cast(Any, worker), KeyError('x'))
    assert said.reason == 'internal error: KeyError'
    assert victim.read_text() == 'whole'
    (tmp_path / 'traceback').unlink()
    workermod.Worker._internal(cast(Any, worker), KeyError('x'))
    assert (tmp_path / 'traceback').stat().st_mode & 0o777 == 0o600
