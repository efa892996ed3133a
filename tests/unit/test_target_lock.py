"""A target's turn is a kernel lock: exclusive, not inherited, never stale."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hgext_delegate.state import files, target_lock

pytestmark = pytest.mark.once


HOLD = """\
import sys
sys.path[:0] = sys.argv[2:]
from hgext_delegate.state import files, target_lock
p = files.Paths('r', sys.argv[1], sys.argv[1], '')
with target_lock.turn(p, 'blog', 0, lambda: True) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""
# While it has the lock it forks, and is killed; the child lives on.
FORK = HOLD.replace(
    'sys.stdin.read()',
    'import os, signal; held = os.getpid()\n'
    '    if os.fork(): os.kill(held, signal.SIGKILL)\n'
    '    print("child", flush=True); sys.stdin.read()',
)
EXEC = HOLD.replace(
    'sys.stdin.read()',
    'import os, signal, subprocess\n'
    '    child = ["sh", "-c", "echo child; exec cat >/dev/null"]\n'
    '    subprocess.Popen(child, close_fds=False)\n'
    '    sys.stdin.read(0); os.kill(os.getpid(), signal.SIGKILL)',
)


@pytest.fixture
def paths(tmp_path: Path) -> files.Paths:
    path = str(tmp_path)
    return files.Paths('r', path, path, '')


def is_free(paths: files.Paths, target: str = 'blog') -> bool:
    with target_lock.turn(paths, target, 0, lambda: False) as mine:
        return mine


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        assert process.stdin and process.stdout
        process.stdin.close()
        process.kill()
        process.wait()
        # what a child still prints is over when the child is
        process.stdout.read()
        process.stdout.close()


def start(paths: files.Paths, script: str) -> subprocess.Popen[bytes]:
    """Run SCRIPT, which now has the turn."""
    command = [sys.executable, '-c', script, paths.folder, *sys.path]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
    assert process.stdout and process.stdout.readline() == b'True\n'
    return process


def test_one_thread_at_a_time(paths: files.Paths) -> None:
    with target_lock.turn(paths, 'blog', 0, lambda: True) as mine:
        assert mine
        assert not is_free(paths)
        assert is_free(paths, 'docs')
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(is_free(paths)))
        thread.start()
        thread.join()
        assert found == [False]
    assert is_free(paths)


def test_who_waits_gets_it_when_it_is_free(paths: files.Paths) -> None:
    asked = threading.Event()
    got: list[bool] = []

    def is_waiting() -> bool:
        asked.set()
        return True

    def wait() -> None:
        with target_lock.turn(paths, 'blog', 600, is_waiting) as mine:
            got.append(mine)

    with target_lock.turn(paths, 'blog', 0, lambda: True):
        thread = threading.Thread(target=wait)
        thread.start()
        assert asked.wait(60)
        assert not got
    thread.join()
    assert got == [True]


def test_nobody_waits_longer_than_he_is_patient(paths: files.Paths) -> None:
    first = target_lock.turn(paths, 'blog', 0, lambda: True)
    second = target_lock.turn(paths, 'blog', 0.1, lambda: True)
    with first as mine, second as too:
        assert mine and not too


def test_one_process_at_a_time_and_none_is_left_by_kill(
    paths: files.Paths, started: list[subprocess.Popen[bytes]]
) -> None:
    process = start(paths, HOLD)
    started.append(process)
    assert not is_free(paths)
    process.kill()
    process.wait()
    assert is_free(paths)


@pytest.mark.parametrize('script', [FORK, EXEC], ids=['fork', 'exec'])
def test_a_child_does_not_inherit_it(
    paths: files.Paths, started: list[subprocess.Popen[bytes]], script: str
) -> None:
    process = start(paths, script)
    started.append(process)
    assert process.stdout and process.stdout.readline() == b'child\n'
    assert process.wait() == -9
    # the child has its standard input, and so lives until we close that
    assert is_free(paths)


def test_a_lock_is_no_link(paths: files.Paths, tmp_path: Path) -> None:
    (tmp_path / 'blog.lock').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(target_lock.LockError, match='symbolic'):
        is_free(paths)
    assert not (tmp_path / 'elsewhere').exists()


def test_a_new_lock_has_the_permission_of_a_shared_repository(
    tmp_path: Path,
) -> None:
    path = str(tmp_path)
    shared = files.Paths('r', path, path, '')
    for mode, wanted in ((0o750, 0o600), (0o2770, 0o660)):
        tmp_path.chmod(mode)
        assert is_free(shared)
        lock = tmp_path / 'blog.lock'
        assert lock.stat().st_mode & 0o777 == wanted
        lock.unlink()
