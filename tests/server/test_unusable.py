"""A journal that cannot be used fails no push, and nothing is lost by it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import verdict
from delegations import log
from hgrc import targets
from mercurial import dispatch  # noqa: F401 - 7.2 needs it first
from repositories import Clone, Push, Repository
from world import HELD, World

from hgext_delegate.state import schema


@pytest.fixture
def folder(repository: Repository) -> Iterator[Path]:
    """.hg/delegate of the repository, which the test may shut."""
    path = repository.path / '.hg' / 'delegate'
    yield path
    path.chmod(0o755)


def states(repository: Repository) -> dict[str, str]:
    said = repository.hg('delegate-log', '-Tjson').stdout
    return {row['node']: row['state'] for row in json.loads(said)}


def ours(push: Push) -> list[bytes]:
    """What we said, without what the deploy side printed."""
    return [x for x in push.remote if x.startswith((b'delegate: ', b'('))]


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def overwrite_the_middle(path: Path) -> None:
    with path.open('r+b') as file:
        file.seek(4096)
        file.write(os.urandom(3 * 4096))


def replace_by_text(path: Path) -> None:
    path.write_text('this is no database at all\n' * 500)


def add_view(path: Path) -> None:
    endless = 'WITH RECURSIVE x(n) AS (SELECT 1 UNION SELECT n + 1 FROM x)'
    change(path, 'DROP TABLE unmatched')
    view = f'{endless} SELECT n AS txn, n AS target FROM x'
    change(path, f'CREATE VIEW unmatched AS {view}')


def change(path: Path, statement: str) -> None:
    """As a member of the group could."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement)
    db.close()


def lead_elsewhere(path: Path) -> None:
    newest = '(SELECT max(number) FROM delegation)'
    where = f'WHERE number = {newest}'
    change(path, f"UPDATE delegation SET id = '../../hgrc' {where}")


@pytest.mark.once
@pytest.mark.parametrize(
    'damage',
    [
        cut_short,
        overwrite_the_middle,
        replace_by_text,
        add_view,
        lead_elsewhere,
    ],
)
def test_a_damaged_journal_is_set_aside_and_said_once(
    world: World,
    repository: Repository,
    pushed: Clone,
    folder: Path,
    damage: Callable[[Path], None],
) -> None:
    damage(folder / 'journal')
    first = pushed.commit()
    said = ours(pushed.push())
    reports = [line for line in said if b'journal is damaged: ' in line]
    assert len(reports) == 1
    (aside,) = folder.glob('journal.damaged-*')
    hint = said[said.index(reports[0]) + 1].decode()
    assert hint.startswith('(') and aside.name in hint
    assert verdict.deployed(first) in verdict.among(said)
    second = pushed.commit()
    assert len(ours(pushed.push())) == 1
    runs = [deploy.context['node'] for deploy in world.deploys()]
    assert runs[1:] == [first, second]
    assert states(repository)[second] == 'succeeded'


@pytest.mark.once
@pytest.mark.parametrize('damage', [cut_short, lead_elsewhere, add_view])
@pytest.mark.parametrize('way', ['ssh', 'path'])
def test_a_journal_that_is_damaged_meanwhile_keeps_no_verdict_back(
    world: World,
    repository: Repository,
    pushed: Clone,
    folder: Path,
    damage: Callable[[Path], None],
    way: str,
) -> None:
    world.forced_command(HELD)
    if way == 'path':
        path = world.server.home / 'by-path'
        world.server.run([*world.hg, 'clone', '-q', repository.path, path])
        clone = Clone(world.server, path, world.hg)
        node = clone.commit('-u', 'alice')
        running = clone.start_push(str(repository.path))
    else:
        node = pushed.commit()
        running = pushed.start_push()
    running.wait_for(b'blog| begun')
    damage(folder / 'journal')
    world.deploy.write('go', '')
    push = running.finish()
    said = push.stdout + push.stderr
    assert verdict.deployed(node) in verdict.among(said)
    assert len(world.deploys()) == 2


def lock(world: World, folder: Path) -> Callable[[], None]:
    holder = world.server.popen(
        [world.python, '-c', HOLD, str(folder / 'journal')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout and holder.stdout.readline() == b'held\n'

    def release() -> None:
        holder.communicate()

    return release


# for longer than anybody waits
HOLD = """\
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()
"""


def make_newer(world: World, folder: Path) -> Callable[[], None]:
    set_version(world, folder, 99)
    return lambda: set_version(world, folder, schema.VERSION)


def set_version(world: World, folder: Path, version: int) -> None:
    script = 'import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); '
    script += f'db.execute("PRAGMA user_version = {version}")'
    path = str(folder / 'journal')
    world.server.run([world.python, '-c', script, path])


def shut_the_journal(world: World, folder: Path) -> Callable[[], None]:
    # as one that an administrator's hg delegate has made
    (folder / 'journal').chmod(0)
    return lambda: (folder / 'journal').chmod(0o644)


def seal_the_journal(world: World, folder: Path) -> Callable[[], None]:
    (folder / 'journal').chmod(0o444)

    def mend() -> None:
        for path in folder.glob('journal*'):
            path.chmod(0o644)

    return mend


def shut_the_folder(world: World, folder: Path) -> Callable[[], None]:
    folder.chmod(0o500)
    return lambda: folder.chmod(0o755)


def hide_the_folder(world: World, folder: Path) -> Callable[[], None]:
    folder.chmod(0)
    return lambda: folder.chmod(0o755)


def put_a_file_there(world: World, folder: Path) -> Callable[[], None]:
    away = folder.with_name('away')
    folder.rename(away)
    world.server.write(folder, '')

    def put_back() -> None:
        folder.unlink()
        away.rename(folder)

    return put_back


def link_elsewhere(world: World, folder: Path) -> Callable[[], None]:
    # into the journal and the locks of another repository
    away = folder.with_name('away')
    folder.rename(away)
    elsewhere = world.server.mkdir('elsewhere')
    world.server.run(['ln', '-s', str(elsewhere), str(folder)])

    def put_back() -> None:
        assert not list(elsewhere.iterdir())
        folder.unlink()
        away.rename(folder)

    return put_back


@pytest.mark.once
@pytest.mark.parametrize(
    ('break_it', 'reason', 'remedy'),
    [
        (lock, b'database is locked', b'another process'),
        (make_newer, b'of a newer version (99)', b'upgrade hg-delegate'),
        (shut_the_journal, b'unable to open', b'who may write'),
        (seal_the_journal, b'a readonly database', b'who may write'),
        (shut_the_folder, b'.hg/delegate cannot be written', b'right to write'),
        (hide_the_folder, b'.hg/delegate cannot be written', b'right to write'),
        (
            put_a_file_there,
            b'.hg/delegate cannot be written',
            b'move away what is there',
        ),
        (link_elsewhere, b'a symbolic link', b'move away what is there'),
    ],
)
def test_without_a_journal_a_push_waits_and_the_next_one_takes_it_along(
    world: World,
    repository: Repository,
    pushed: Clone,
    folder: Path,
    break_it: Callable[[World, Path], Callable[[], None]],
    reason: bytes,
    remedy: bytes,
) -> None:
    mend = break_it(world, folder)
    waiting = pushed.commit()
    said = ours(pushed.push())
    assert len(said) == 3
    assert verdict.read(said[0]).state == 'pending'
    assert reason in said[0]
    assert remedy in said[1]
    assert said[2].startswith(b'(tried again at the next push to blog')
    assert str(world.base).encode() not in b''.join(said)
    assert len(world.deploys()) == 1
    mend()
    assert states(repository)[waiting] == 'pending'
    newest = pushed.commit()
    assert verdict.last(pushed.push()).state == 'deployed'
    (push, other) = world.deploys()[-1].context['pushes']
    assert [push['node'], other['node']] == [waiting, newest]
    assert states(repository)[newest] == 'succeeded'
    assert states(repository)[waiting] == 'superseded'
    assert repository.hg('delegate', '--pending').stdout == b''


# A proxy that holds the journal once a delegation has begun.
HOLDER = """\
import os, socket, sqlite3, sys, threading, time

journal = sqlite3.connect(sys.argv[1], isolation_level=None)
begun = "SELECT 1 FROM delegation WHERE state = 'running'"
while not journal.execute(begun).fetchall():
    time.sleep(0.02)
journal.execute('BEGIN IMMEDIATE')
there = socket.create_connection(('localhost', int(sys.argv[2])))

def pump(read, write):
    while data := read(65536):
        write(data)
    os._exit(0)

up = lambda data: there.sendall(data)
down = lambda data: os.write(1, data)
threading.Thread(target=pump, args=(there.recv, down)).start()
pump(lambda size: os.read(0, size), up)
"""


@pytest.mark.once
def test_what_could_not_be_asked_for_waits_and_says_why(
    world: World, repository: Repository, pushed: Clone
) -> None:
    holder = world.server.write('holder.py', HOLDER)
    journal = repository.path / '.hg' / 'delegate' / 'journal'
    proxy = f'{world.python} {holder} {journal} {world.port}'
    world.server.write('.ssh/config', f'ProxyCommand {proxy}\n')
    node = pushed.commit()
    push = pushed.push()
    locked = 'the journal cannot be used: database is locked'
    remedy = (
        b"tried again at the next push to blog, or by 'hg delegate --pending'"
    )
    first, *rest = ours(push)
    assert verdict.read(first) == verdict.pending(locked)
    assert rest == [
        b'(%s)' % remedy,
        b'delegate: ' + locked.encode(),
        b'(another process holds it; see fuser .hg/delegate/journal)',
    ]
    world.server.write('.ssh/config', '')
    repository.hg('delegate', '--pending')
    assert states(repository)[node] == 'succeeded'


@pytest.mark.once
def test_a_lock_of_another_account_is_taken_or_named(
    world: World, repository: Repository, pushed: Clone, folder: Path
) -> None:
    (folder / 'blog.lock').chmod(0o444)
    pushed.commit()
    assert verdict.last(pushed.push()).state == 'deployed'
    (folder / 'blog.lock').chmod(0)
    node = pushed.commit()
    said = ours(pushed.push())
    assert verdict.read(said[0]).state == 'pending'
    assert b'cannot lock blog: Permission denied' in said[0]
    assert b'.hg/delegate/blog.lock' in said[1]
    assert states(repository)[node] == 'pending'
    (folder / 'blog.lock').chmod(0o644)
    repository.hg('delegate', '--pending')
    assert states(repository)[node] == 'succeeded'


def test_output_that_cannot_be_kept_stops_nothing_and_is_said(
    world: World, repository: Repository, pushed: Clone, folder: Path
) -> None:
    (folder / 'log').chmod(0o500)
    try:
        node = pushed.commit()
        said = ours(pushed.push())
    finally:
        (folder / 'log').chmod(0o755)
    assert verdict.deployed(node) in verdict.among(said)
    assert any(b'output cannot be kept: Permission denied' in x for x in said)
    assert states(repository)[node] == 'succeeded'


def test_a_damaged_outbox_loses_no_new_push(
    world: World, repository: Repository, pushed: Clone
) -> None:
    box = repository.path / '.hg' / 'store' / 'delegate-outbox'
    world.server.write(box, '\0junk\n{"a": 1}\n')
    node = pushed.commit()
    assert verdict.last(pushed.push()).state == 'deployed'
    assert states(repository)[node] == 'succeeded'


# years back with each process that Mercurial starts on the server
CLOCK = """\
import os, time
path = os.path.expanduser('~/years')
years = int(open(path).read())
open(path, 'w').write(str(years + 1))
real = time.time
time.time = lambda: real() - years * 31536000
"""


def backwards(world: World) -> str:
    """A line for [extensions], with which the clock runs backwards."""
    world.server.write('years', '0')
    return f'clock = {world.server.write("clock.py", CLOCK)}\n'


@pytest.mark.once
def test_a_clock_that_jumps_back_changes_no_order(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(
        backwards(world) + targets(world) + 'keep = 2\nblog:retries = 0\n'
    )
    nodes = []
    for _ in range(4):
        nodes.append(clone.commit())
        clone.push()
    runs = world.deploys()
    assert [run.context['node'] for run in runs] == nodes
    assert [run.context['previous'] for run in runs] == [None, *nodes[:-1]]
    assert int(world.server.read('years')) >= 4
    said = repository.hg('delegate-log', '-Tjson').stdout
    kept = [row['node'] for row in json.loads(said)]
    assert kept == nodes[:-3:-1]
    assert repository.hg('delegate', '--pending').stdout == b''


@pytest.mark.once
def test_a_clock_that_jumps_back_keeps_nothing_from_being_deployed_again(
    world: World, repository: Repository, clone: Clone
) -> None:
    more = 'blog:trigger = changegroup, bookmark\n'
    repository.hgrc(backwards(world) + targets(world, more=more))
    first = clone.commit()
    clone.push()
    second = clone.commit()
    clone.push()
    repository.hg('delegate')
    clone.hg('bookmark', '-i', 'live')
    clone.push('-B', 'live', check=False)
    repository.hg('delegate', '-r', first)
    repository.hg('delegate', '-r', first)
    runs = [run.context['node'] for run in world.deploys()]
    assert runs == [first, second, second, second, first, first]


WITHOUT = """\
import sys
sys.modules['paramiko'] = None
"""


@pytest.mark.parametrize('way', ['ssh', 'path', 'wait = no'])
def test_without_paramiko_a_push_waits_and_is_told_why(
    world: World, repository: Repository, way: str
) -> None:
    without = world.server.write('without.py', WITHOUT)
    more = 'blog:wait = no\n' if way == 'wait = no' else ''
    extensions = f'[extensions]\nwithout = {without}\n'
    repository.hgrc(targets(world, more=more) + extensions)
    if way == 'path':
        path = world.server.home / 'by-path'
        world.server.run([*world.hg, 'init', str(path)])
        clone = Clone(world.server, path, world.hg)
        clone.commit('-u', 'alice')
        push = clone.push(str(repository.path))
    else:
        clone = world.clone(repository)
        clone.commit()
        push = clone.push()
    said = push.stdout + push.stderr
    assert b'delegate: cannot log in anywhere: ' in said
    assert b'(install paramiko for the Python that runs hg)' in said
    assert not verdict.among(said) and b'Traceback' not in said
    assert [row['state'] for row in log(repository)] == ['pending']
