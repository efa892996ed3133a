"""What a member of the group has prepared for another member's process."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

import pytest

from hgext_delegate.push import outbox
from hgext_delegate.state import (
    delegation,
    deployed,
    files,
    journal,
    notices,
    pruning,
    schema,
    sqlite_file,
)

pytestmark = pytest.mark.once

A = 'a' * 40
ENDLESS = (
    'CREATE VIEW unmatched AS '
    'WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) '
    'SELECT n AS txn, n AS target FROM x'
)
TRIGGER = (
    'CREATE TRIGGER t AFTER UPDATE ON delegation BEGIN '
    "UPDATE delegation SET state = 'succeeded'; END"
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A journal with three delegations that failed, the last still runs."""
    folder = tmp_path / 'delegate'
    (folder / 'log').mkdir(parents=True)
    path = str(folder / 'journal')
    opened = journal.open(path)
    for number in range(1, 5):
        row = opened.get(opened.record('blog', A, 'alice', f'T{number}', 1))
        assert row and opened.claim(row, None)
        if number < 4:
            opened.end(number, delegation.FAILED, status=3)
    opened.close()
    return path


def prepare(path: str, *statements: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def use(path: str) -> None:
    """What a push does with it."""
    opened = journal.open(path)
    if opened.last_error:
        raise opened.last_error
    try:
        folder = str(Path(path).parent)
        paths = files.Paths('r', folder, folder, '')
        opened.settled(['T1'])
        opened.running_targets()
        opened.close_abandoned('blog', False)
        opened.newest(None, 10)
        pruning.prune(opened, paths, ['blog'], 0, outbox.Outbox(following=9))
        if opened.last_error:
            raise opened.last_error
    finally:
        opened.close()


def test_what_is_not_prepared_is_used(path: str) -> None:
    use(path)


@pytest.mark.parametrize(
    'change',
    [
        "id = '../../victim' WHERE number = 1",
        "id = '/tmp/victim' WHERE number = 1",
        "id = '..' WHERE number = 4",
        "target = '../victim' WHERE number = 4",
        'ended = 9e999 WHERE number = 1',
        'created = -9e300 WHERE number = 1',
    ],
)
def test_a_value_that_cannot_be_ours_is_damage(path: str, change: str) -> None:
    victim = Path(path).parent.with_name('victim')
    victim.write_text('whole')
    prepare(path, f'UPDATE delegation SET {change}')
    with pytest.raises(
        journal.JournalError, match='a malformed record'
    ) as caught:
        use(path)
    assert caught.value.damaged
    assert victim.read_text() == 'whole'


def test_pruning_unlinks_no_file_that_a_record_names(path: str) -> None:
    """Also if nothing else has read that record."""
    victim = Path(path).parent / 'victim'
    victim.write_text('whole')
    prepare(path, "UPDATE delegation SET id = '../victim' WHERE number = 1")
    opened = journal.open(path)
    with pytest.raises(journal.JournalError, match='a malformed record'):
        pruning.prune_all(opened, 1)
    opened.close()
    assert victim.read_text() == 'whole'


@pytest.mark.parametrize(
    'statements',
    [
        [TRIGGER],
        ['ALTER TABLE unmatched RENAME TO other', ENDLESS],
        ['CREATE INDEX slow ON delegation (length(hex(zeroblob(1000000))))'],
        ['ALTER TABLE delegation ADD COLUMN more'],
        ['DROP INDEX delegation_state'],
        ['PRAGMA user_version = -1'],
        ['PRAGMA user_version = 1'],
    ],
)
def test_a_schema_that_is_not_ours_is_damage(
    path: str, statements: list[str]
) -> None:
    prepare(path, *statements)
    for look in (journal.peek, use):
        began = time.monotonic()
        with pytest.raises(journal.JournalError, match='its schema') as caught:
            look(path)
        assert caught.value.damaged
        assert time.monotonic() - began < sqlite_file._LONGEST / 2
    use(path)


def test_a_schema_that_becomes_endless_later_is_not_waited_for(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, '_LONGEST', 0.5)
    opened = journal.open(path)
    opened.settled(['T1'])
    prepare(path, 'ALTER TABLE unmatched RENAME TO other', ENDLESS)
    assert opened.settled(['T1']) == set()
    assert opened.last_error and opened.last_error.damaged
    assert 'interrupted' in opened.last_error.reason
    opened.close()
    use(path)


def test_a_journal_of_the_first_version_is_brought_up_to_date(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / 'journal')
    prepare(path, *schema.MIGRATIONS[0].split(';'), 'PRAGMA user_version = 1')
    use(path)


PUSH = {'node': A, 'node_last': A, 'pusher': 'alice', 'source': 'serve'}
PUSH['time'] = '2026-01-01T00:00:00Z'


@pytest.mark.parametrize(
    'change',
    [
        {'sequence': 2**70},
        {'sequence': -1},
        {'targets': ['../blog']},
        {'targets': ['\x1b[2J']},
        {'push': {**PUSH, 'pusher': ['alice']}},
        {'push': {**PUSH, 'source': 1}},
        {'push': {**PUSH, 'time': 'yesterday'}},
        {'push': {**PUSH, 'time': 1}},
    ],
)
def test_a_line_of_the_outbox_that_cannot_be_ours_is_left_unread(
    change: dict,
) -> None:
    entry = {'sequence': 1, 'txn': 'T1', 'targets': ['blog'], 'push': PUSH}
    lines = [json.dumps(each) for each in (entry, {**entry, **change})]
    box = outbox.parse('\n'.join(lines).encode())
    assert len(box.entries) == len(box.unread) == 1


def test_an_outbox_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / 'other').write_bytes(outbox.render(outbox.Outbox()))
    (tmp_path / 'link').symlink_to('other')
    with pytest.raises(OSError, match='symbolic'):
        outbox.read_file(str(tmp_path / 'link'))


def test_a_notice_of_no_state_is_damage(path: str) -> None:
    """A hook would be told of it."""
    prepare(path, "INSERT INTO notice (number, state) VALUES (1, 'x\ny')")
    opened = journal.open(path)
    with pytest.raises(
        journal.JournalError, match='malformed record'
    ) as caught:
        notices.claim(opened)
    assert caught.value.damaged
    opened.close()


def test_deployed_names_are_read_from_a_file_alone(tmp_path: Path) -> None:
    path = tmp_path / 'delegate-deployed'
    os.mkfifo(path)
    # somebody writes into the pipe, in their own time
    with open(os.open(path, os.O_RDWR), 'wb') as pipe:
        assert deployed.read(str(path)) == {}
        pipe.write(b'blog %s\n' % A.encode())
        pipe.flush()
        assert deployed.read(str(path)) == {}
    path.unlink()
    path.mkdir()
    before = os.listdir('/proc/self/fd')
    assert deployed.read(str(path)) == {}
    assert os.listdir('/proc/self/fd') == before
    path.rmdir()
    line = b'blog %s\n' % A.encode()
    path.write_bytes(b'\xff\0 x\n' + line + b'y' * 2**21 + b'\n' + line)
    assert deployed.read(str(path)) == {b'blog': A.encode()}
