"""hg delegate-receive says why it cannot pull or update, in its own words."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable

import protocols
import pytest
from accounts import PATH, ROOT
from receivers import Receiver, commit
from repositories import Clone, Completed, Repository
from world import World

SAYS = b'delegate-receive: '
LARGE = 'the repository needs largefiles, which this account has not enabled'


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    return receiver


def refused(ended: Completed, reason: str, remedy: str) -> None:
    """That ENDED shows nothing but these two."""
    assert ended.returncode == 121
    lines = ended.stdout.decode().splitlines()
    assert len(lines) == 2, ended
    assert lines[0] == f'delegate-receive: {reason}'
    assert lines[1] == f'({remedy})'


def test_a_folder_in_the_way_is_named_before_anything_is_changed(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.deploy(commit(clone, {'file': 'one\n'}))
    receiver.account.mkdir('clone/page')
    receiver.account.write('clone/page/mine', 'mine\n')
    ended = receiver.deploy(commit(clone, {'page': 'x', 'file': 'two\n'}))
    refused(
        ended,
        "untracked files are where the changeset has its own: 'page'",
        f'move them away, they are in {receiver.clone}',
    )
    assert (receiver.clone / 'file').read_text() == 'one\n'


def _gone(receiver: Receiver) -> None:
    shutil.rmtree(receiver.repository.path)


def _secret(receiver: Receiver) -> None:
    (receiver.repository.path / '.hg').chmod(0o700)


def _large(receiver: Receiver) -> None:
    with (receiver.repository.path / '.hg/store/requires').open('a') as file:
        file.write('largefiles\n')


def _new(receiver: Receiver) -> None:
    with (receiver.repository.path / '.hg/store/requires').open('a') as file:
        file.write('of-tomorrow\n')


@pytest.mark.parametrize(
    ('spoil', 'reason', 'remedy'),
    [
        (
            _gone,
            '{source} is no repository, or not there any more',
            'correct --source',
        ),
        pytest.param(
            _secret,
            'this account has no right to {source}/.hg/requires',
            'change the rights, or pull by ssh:// or https://',
            marks=pytest.mark.skipif(not ROOT, reason='one account'),
        ),
        (_large, LARGE, 'enable it, in ~/.hgrc: [extensions] largefiles ='),
        (
            _new,
            'the Mercurial of this account is too old for: of-tomorrow',
            'install a newer one',
        ),
    ],
)
def test_a_source_that_cannot_be_pulled_from_is_explained(
    receiver: Receiver,
    clone: Clone,
    spoil: Callable[[Receiver], None],
    reason: str,
    remedy: str,
) -> None:
    node = commit(clone)
    spoil(receiver)
    reason = reason.format(source=receiver.repository.path)
    refused(receiver.deploy(node), reason, remedy)


def test_a_host_that_refuses_is_explained(
    receiver: Receiver, clone: Clone
) -> None:
    node = commit(clone)
    for url in ('http://127.0.0.1:1/x', 'ssh://me@127.0.0.1:1/x'):
        receiver.install(source=url)
        ended = receiver.deploy(node)
        assert ended.stdout.startswith(
            SAYS + b'cannot pull from %s: ' % url.encode()
        )
        assert b'Connection refused' in ended.stdout
        assert b'abort' not in ended.stdout and ended.returncode == 121
        shutil.rmtree(receiver.clone)


@pytest.mark.parametrize('secret', ['url', 'path'])
def test_a_pusher_cannot_have_what_the_account_can_read_without_subrepos(
    world: World, receiver: Receiver, clone: Clone, secret: str
) -> None:
    clone.owner.run([*world.hg, 'init', str(clone.path / 'sub')])
    sub = Clone(clone.owner, clone.path / 'sub', world.hg)
    sub.commit(files={'secret': '1'})
    private = receiver.account.home / 'private'
    receiver.account.copy(sub.path, private)
    private.chmod(0o700)
    source = f'file://{private}' if secret == 'url' else str(private)
    pushed = commit(clone, {'.hgsub': f'sub = {source}\n'})
    refused(
        receiver.deploy(pushed),
        'the changeset has subrepositories, which are off',
        'to turn them on, add --subrepos to this receiver',
    )
    assert not (receiver.clone / 'sub').exists()
    receiver.install(last='--subrepos')
    assert receiver.deploy(pushed).returncode == 0
    assert (receiver.clone / 'sub' / 'secret').exists()


def test_a_subrepository_that_cannot_be_had_is_named(
    world: World, receiver: Receiver, clone: Clone
) -> None:
    receiver.install(last='--subrepos')
    clone.owner.run([*world.hg, 'init', str(clone.path / 'sub')])
    sub = Clone(clone.owner, clone.path / 'sub', world.hg)
    sub.commit(files={'inside': '1'})
    node = commit(clone, {'.hgsub': 'sub = sub\n'})
    refused(
        receiver.deploy(node),
        f'the subrepository {receiver.repository.path}/sub cannot be had',
        'see .hgsub, and if this account can read what it names',
    )


@pytest.mark.skipif(not ROOT, reason='mounts a small disk')
@pytest.mark.parametrize('moment', ['pull', 'update'])
def test_a_full_disk_is_named_without_a_traceback(
    receiver: Receiver, clone: Clone, moment: str
) -> None:
    # what does not compress fills it in the pull, the rest in the update
    text = os.urandom(3 << 20).hex() if moment == 'pull' else 'x\n' * (2 << 20)
    request, data = protocols.deploy(commit(clone, {'large': text}))
    account = receiver.account
    account.mkdir('clone')
    mount = f'mount -t tmpfs -o size=2m,mode=777 tmpfs {receiver.clone}'
    drop = f'setpriv --reuid {account.uid} --regid {account.gid} --clear-groups'
    ended = subprocess.run(
        [
            *('unshare', '-m', '--propagation', 'private', 'sh', '-c'),
            *(f'{mount} && exec {drop} "$@"', 'sh', *receiver.command()),
        ],
        input=data,
        capture_output=True,
        cwd='/',
        env={
            'HOME': str(account.home),
            'PATH': PATH + ':/usr/sbin:/sbin',
            'SSH_ORIGINAL_COMMAND': request,
        },
        timeout=120,
    )
    assert ended.stdout.decode() == (
        'delegate-receive: the disk is full\n'
        f'(make room where {receiver.clone} is)\n'
    )
    assert ended.returncode == 121


@pytest.mark.parametrize('name', ['wlock', 'store/lock'])
def test_a_lock_of_a_dead_host_costs_nobody_anything(
    receiver: Receiver, clone: Clone, name: str
) -> None:
    receiver.deploy(commit(clone))
    path = receiver.clone / '.hg' / name
    path.symlink_to('gone.example/f00:123')
    old = time.time() - 60
    os.utime(path, (old, old), follow_symlinks=False)
    began = time.monotonic()
    ended = receiver.deploy(commit(clone))
    assert ended.returncode == 0
    # on a slow disk it is said before that the one before it has the clone
    line = ended.stdout.splitlines()[-1]
    left = b"a lock that 'gone.example/f00:123' has left is removed"
    assert line == SAYS + left
    assert time.monotonic() - began < 10


def test_a_lock_of_a_living_process_is_named(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.deploy(commit(clone))
    account = receiver.account
    account.write('.hgrc', '')
    code = (
        'import sys, time; from mercurial import hg, ui\n'
        'lock = hg.repository(ui.ui.load(), sys.argv[1].encode()).wlock()\n'
        'print("held", flush=True); time.sleep(100)\n'
    )
    python = receiver.world.hg[0]
    holder = account.popen(
        [python, '-c', code, str(receiver.clone)], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout and holder.stdout.readline() == b'held\n'
        ended = receiver.deploy(commit(clone))
    finally:
        holder.kill()
        holder.communicate()
    assert ended.returncode == 121
    assert SAYS + b'the clone is locked by ' in ended.stdout
    assert b'debuglocks -L -W)\n' in ended.stdout


def test_what_was_amended_or_pruned_is_deployed_or_named(
    world: World, receiver: Receiver, clone: Clone
) -> None:
    receiver.account.write('.hgrc', '[experimental]\nevolution = all\n')
    evolve = ('--config', 'extensions.evolve=')
    first = commit(clone)
    assert receiver.deploy(first).returncode == 0
    clone.commit(files={'file': 'one\n'})
    clone.deliver(draft=True)
    old = clone.tip()
    assert receiver.deploy(old).returncode == 0
    clone.hg(*evolve, 'amend', '-m', 'better')
    clone.deliver(draft=True)
    new = clone.tip()
    for node in (new, old, new):
        ended = receiver.deploy(node)
        assert (ended.returncode, ended.stdout) == (0, b''), node
    gone = 'ab' * 20
    refused(
        receiver.deploy(gone),
        f'{gone} is not in {receiver.repository.path}',
        'another --source, or it is secret, stripped or amended',
    )
