"""Who may only read a repository reaches none of our files."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import verdict
from accounts import Account
from hgrc import targets
from repositories import Clone, Repository
from world import World

pytestmark = pytest.mark.once

# Opens and locks what it is told to, if it can, and holds that.
LOCK = """\
import fcntl, sys
try:
    held = open(sys.argv[1])
    fcntl.flock(held, fcntl.LOCK_EX)
    print('held', flush=True)
except OSError as exc:
    print(exc.strerror, flush=True)
sys.stdin.read()
"""


@contextmanager
def locking(world: World, account: Account, path: Path) -> Iterator[str]:
    """Let ACCOUNT lock PATH; what came of it."""
    process = account.popen(
        [world.python, '-c', LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    yield process.stdout.readline().decode().strip()
    process.communicate()


def kept(repository: Repository) -> list[Path]:
    """All files of ours in REPOSITORY."""
    folder = repository.path / '.hg' / 'delegate'
    found = [path for path in folder.rglob('*') if path.is_file()]
    return [*found, repository.path / '.hg' / 'store' / 'delegate-outbox']


def check_modes(repository: Repository) -> None:
    folder = repository.path / '.hg' / 'delegate'
    assert {path.name for path in kept(repository)} >= {'journal', 'blog.lock'}
    assert len(kept(repository)) > 3
    for path in [folder, folder / 'log', *kept(repository)]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_who_may_only_read_the_repository_holds_no_lock(
    world: World, repository: Repository, pushed: Clone
) -> None:
    check_modes(repository)
    for path in kept(repository):
        with locking(world, world.deploy, path) as answer:
            assert answer == 'Permission denied', path
    node = pushed.commit()
    assert verdict.last(pushed.push()) == verdict.deployed(node)


def test_what_an_older_version_has_left_open_is_closed(
    world: World, repository: Repository, pushed: Clone
) -> None:
    folder = repository.path / '.hg' / 'delegate'
    for path in [folder, folder / 'log', *kept(repository)]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with locking(world, world.deploy, folder / 'journal') as answer:
        assert answer == 'held'
    node = pushed.commit()
    assert verdict.last(pushed.push()) == verdict.deployed(node)
    check_modes(repository)


def test_what_another_account_has_left_open_is_no_place_to_record_in(
    world: World, repository: Repository, pushed: Clone
) -> None:
    folder = repository.path / '.hg' / 'delegate'
    if os.geteuid():
        pytest.skip('only root can give files away')
    os.chown(folder, world.pusher.uid, -1)
    folder.chmod(0o777)
    pushed.commit()
    push = pushed.push()
    words = '.hg/delegate can be reached by others than its writers'
    assert verdict.pending(words) in verdict.among(push.remote)
    assert b'(chmod -R o-rwx .hg/delegate, as its owner)' in push.remote


def test_a_lock_that_is_held_for_no_delegation_is_not_waited_for_long(
    world: World, repository: Repository, pushed: Clone
) -> None:
    lock = repository.path / '.hg' / 'delegate' / 'blog.lock'
    with locking(world, world.server, lock) as answer:
        assert answer == 'held'
        node = pushed.commit()
        running = pushed.start_push()
        running.wait_for(b'waiting for the lock of blog, 1 s so far')
        push = running.finish(timeout=60)
    words = 'another process has the lock of blog, and delegates nothing'
    assert verdict.pending(words) in verdict.among(push.remote)
    assert b'(see fuser -v .hg/delegate/blog.lock)' in push.remote
    repository.hg('delegate', '--pending')
    assert world.deploys()[-1].context['node'] == node


def test_a_log_is_nobodys_hgrc(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    ran = world.server.home / 'ran'
    world.forced_command(f'printf "[hooks]\npre-status = touch {ran}\n"')
    clone.commit()
    assert b'blog| [hooks]' in clone.push().remote
    (log,) = (repository.path / '.hg' / 'delegate' / 'log').iterdir()
    hgrc = repository.path / '.hg' / 'hgrc'
    hgrc.unlink()
    for path in kept(repository):
        world.server.run(['ln', '-sf', str(path), str(hgrc)])
        repository.hg('status', check=False)
        assert not ran.exists(), path
    world.server.run(['rm', str(hgrc)])
    world.server.write(hgrc, ''.join(log.read_text().splitlines(True)[1:]))
    repository.hg('status')
    assert ran.exists()


def test_what_is_masked_is_neither_shown_nor_kept(
    world: World, repository: Repository, clone: Clone
) -> None:
    mask = r'blog:mask = token=\S+, "a b{2,3}"'
    repository.hgrc(targets(world, more=mask + '\n'))
    world.forced_command(
        'printf "with tok"; sleep 0.8; echo "en=s3cret go"\n'
        'echo "a bbb, token=s3cret" >&2\n'
        'printf "token=s3cret"\n'
    )
    clone.commit()
    said = clone.push().remote
    for line in (b'with *** go', b'***, ***', b'***'):
        assert b'blog| ' + line in said
    for path in kept(repository):
        assert b's3cret' not in path.read_bytes(), path


@pytest.mark.parametrize('name', ['blog.lock', 'journal'])
def test_a_pipe_in_the_place_of_a_file_holds_nobody(
    world: World, repository: Repository, clone: Clone, name: str
) -> None:
    repository.hgrc(targets(world))
    folder = world.server.mkdir(repository.path / '.hg' / 'delegate')
    folder.chmod(0o700)
    world.server.run(['mkfifo', str(folder / name)])
    clone.commit()
    said = verdict.among(clone.push().remote)
    assert [each.state for each in said] == ['pending']
    assert 'no regular file' in said[0].detail


def test_members_of_a_group_read_what_one_of_them_has_written(
    world: World, repository: Repository, clone: Clone
) -> None:
    """A store that the group may write, without a setgid bit."""
    if os.geteuid():
        pytest.skip('only root can give files away')
    store = repository.path / '.hg' / 'store'
    os.chown(store, -1, world.deploy.gid)
    store.chmod(0o775)
    repository.hgrc(targets(world))
    node = clone.commit()
    assert verdict.last(clone.push()) == verdict.deployed(node)
    box = (store / 'delegate-outbox').stat()
    assert stat.S_IMODE(box.st_mode) == 0o660
