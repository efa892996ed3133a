"""The journal records what became of delegations, and survives damage."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from hgext_delegate.push import outbox
from hgext_delegate.state import (
    delegation,
    files,
    journal,
    pruning,
    schema,
    sqlite_file,
)

pytestmark = pytest.mark.once


A, B, C = ('a' * 40, 'b' * 40, 'c' * 40)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'journal')


def claim(
    opened: journal.Journal,
    number: int,
    previous: str | None = None,
    taken: Sequence[int] = (),
) -> delegation.Delegation:
    row = opened.get(number)
    assert row
    claimed = opened.claim(row, previous, taken)
    assert claimed
    return claimed


def ended(opened: journal.Journal, txn: str, sequence: int, **fields) -> int:
    number = opened.record('blog', A, 'alice', txn, sequence)
    claim(opened, number)
    opened.end(number, delegation.SUCCEEDED, status=0, **fields)
    return number


def test_a_push_is_recorded_once(path: str) -> None:
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    assert opened.record('blog', A, 'alice', 'T1', 1) == number
    assert opened.record('docs', A, 'alice', 'T1', 1) != number
    assert opened.find('blog', 'T1') == number
    assert opened.known('T1') == {('T1', 'blog'), ('T1', 'docs')}
    opened.close()


def test_what_by_hand_is_asked_for_is_new_each_time(path: str) -> None:
    opened = journal.open(path)
    assert opened.record('blog', A, 'a') != opened.record('blog', A, 'a')
    opened.close()


def test_one_that_is_claimed_takes_others_to_its_end(path: str) -> None:
    opened = journal.open(path)
    old = opened.record('blog', A, 'alice', 'T1', 1)
    new = opened.record('blog', B, 'bob', 'T2', 2)
    row = claim(opened, new, C, [old])
    assert (row.state, row.previous, row.attempt) == (delegation.RUNNING, C, 1)
    assert [r.number for r in opened.carried(new)] == [old, new]
    assert opened.settled(['T1', 'T2']) == set()
    opened.end(new, delegation.FAILED, status=3, reason='exit status 3')
    taken = opened.get(old)
    assert taken and taken.state == delegation.SUPERSEDED
    assert taken.merged_into == new
    assert opened.settled(['T1', 'T2']) == {('T1', 'blog'), ('T2', 'blog')}
    opened.close()


def test_one_that_never_began_lets_go_of_what_it_took(path: str) -> None:
    opened = journal.open(path)
    old = opened.record('blog', A, 'alice', 'T1', 1)
    new = opened.record('blog', B, 'bob', 'T2', 2)
    claim(opened, new, None, [old])
    opened.end(new, delegation.PENDING, reason='connection refused')
    rows = opened.pending('blog')
    assert [(r.number, r.merged_into, r.attempt) for r in rows] == [
        (old, None, 1),
        (new, None, 1),
    ]
    assert opened.settled(['T1', 'T2']) == set()
    opened.close()


def test_turns_are_counted_and_not_timed(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = journal.open(path)
    ended(opened, 'T1', 1)
    monkeypatch.setattr('time.time', lambda: 1.0)
    second = ended(opened, 'T2', 2)
    last = opened.last('blog', delegation.SUCCEEDED)
    assert last and last.number == second
    opened.close()


@pytest.mark.parametrize(
    ('asked', 'resumable', 'state'),
    [
        (False, False, delegation.PENDING),
        (True, False, delegation.LOST),
        (True, True, delegation.PENDING),
    ],
)
def test_what_a_killed_process_left_is_closed(
    path: str, asked: bool, resumable: bool, state: str
) -> None:
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    claim(opened, number)
    if asked:
        opened.note_exec(number)
    opened.close()
    opened = journal.open(path)
    opened.close_abandoned('blog', resumable, 'killed')
    row = opened.get(number)
    assert row and row.state == state
    opened.close()


def test_a_pending_one_is_cancelled_at_once_and_a_running_one_told(
    path: str,
) -> None:
    opened = journal.open(path)
    first = opened.record('blog', A, 'alice', 'T1', 1)
    second = opened.record('blog', A, 'alice', 'T2', 2)
    claim(opened, first)
    assert not opened.cancel(first, 'carol')
    row = opened.get(first)
    assert row and (row.state, row.cancelled_by) == (
        delegation.RUNNING,
        'carol',
    )
    assert opened.cancel(second, 'carol')
    row = opened.get(second)
    assert row and row.state == delegation.CANCELLED
    assert row.reason == 'cancelled by carol'
    opened.close()


def prune(opened: journal.Journal, path: str, box: outbox.Outbox) -> None:
    folder = str(Path(path).parent)
    paths = files.Paths('r', folder, folder, '')
    pruning.prune(opened, paths, ['blog'], 2, box)


def test_pruning_keeps_what_the_outbox_names_and_the_last_success(
    path: str,
) -> None:
    opened = journal.open(path)
    for sequence in range(1, 9):
        ended(opened, f'T{sequence}', sequence)
    failed = opened.record('blog', A, 'alice', 'T9', 9)
    opened.end(failed, delegation.FAILED)
    folder = Path(path).parent
    (folder / 'log').mkdir()
    rows = opened.newest('blog', 99)
    for row in rows:
        (folder / 'log' / row.id).touch()
    prune(opened, path, outbox.Outbox(following=7))
    left = sorted(row.number for row in opened.newest('blog', 99))
    # 8 and 9 are the newest, 7 is not before the outbox's first
    assert left == [7, 8, 9]
    logs = {path.name for path in (folder / 'log').iterdir()}
    assert logs == {row.id for row in rows if row.number in left}
    opened.close()


def test_unmatched_pushes_are_settled_and_forgotten_later(path: str) -> None:
    opened = journal.open(path)
    opened.unmatched('blog', 'T1')
    opened.unmatched('blog', 'T2')
    assert opened.settled(['T1']) == {('T1', 'blog')}
    push = {'node_last': None}
    waiting = outbox.Entry(1, 'T2', ('blog',), push)
    prune(opened, path, outbox.Outbox(entries=(waiting,)))
    assert opened.settled(['T1', 'T2']) == {('T2', 'blog')}
    opened.close()


def test_a_new_file_has_the_permissions_of_a_shared_repository(
    path: str,
) -> None:
    os.chmod(os.path.dirname(path), 0o2770)
    opened = journal.open(path)
    opened.record('blog', A, 'alice', 'T1', 1)
    for name in os.listdir(os.path.dirname(path)):
        mode = os.stat(os.path.join(os.path.dirname(path), name)).st_mode
        assert mode & 0o777 == 0o660, name
    opened.close()


def test_a_damaged_journal_is_set_aside_wherever_the_damage_is(
    path: str, tmp_path: Path
) -> None:
    opened = journal.open(path)
    for sequence in range(200):
        ended(opened, f'T{sequence}', sequence)
    opened.close()
    whole = Path(path).read_bytes()
    for cut in range(4096, len(whole), 4096):
        for name in tmp_path.iterdir():
            name.unlink()
        Path(path).write_bytes(whole[:cut])
        try:
            opened = journal.open(path)
            opened.record('blog', B, 'alice', 'new', 1000)
        except journal.JournalError as exc:
            # deeper than the first look: the next begins a new one
            assert exc.damaged
            opened.close()
            opened = journal.open(path)
            opened.record('blog', B, 'alice', 'new', 1000)
        assert opened.newest('blog', 1)[0].node == B
        opened.close()
    Path(path).write_bytes(b'this is no database at all' * 500)
    opened = journal.open(path)
    assert opened.last_error and 'damaged' in opened.last_error.reason
    assert any('damaged' in name.name for name in tmp_path.iterdir())
    opened.close()


def test_a_newer_journal_is_left_alone(path: str) -> None:
    db = sqlite3.connect(path)
    db.execute('PRAGMA user_version = %d' % (schema.VERSION + 1))
    db.close()
    before = Path(path).read_bytes()
    with pytest.raises(journal.JournalError) as caught:
        journal.open(path)
    assert 'newer' in caught.value.reason
    assert 'upgrade' in caught.value.remedy
    assert Path(path).read_bytes() == before


def test_a_locked_journal_is_an_error_with_a_remedy(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.open(path).close()
    monkeypatch.setattr(sqlite_file, 'BUSY_SECONDS', 0.01)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute('BEGIN EXCLUSIVE')
    opened = journal.open(path)
    with pytest.raises(journal.JournalError) as caught:
        opened.record('blog', A, 'alice', 'T1', 1)
    assert caught.value.remedy
    holder.close()
    opened.close()


def test_the_end_is_known_even_if_it_cannot_be_written(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, 'BUSY_SECONDS', 0.01)
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    claim(opened, number)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute('BEGIN IMMEDIATE')
    opened.end(number, delegation.FAILED, reason='exit status 3', status=3)
    row = opened.get(number)
    assert row and (row.state, row.status) == (delegation.FAILED, 3)
    assert opened.last_error and 'locked' in opened.last_error.reason
    assert opened.running('blog') is None
    holder.close()
    opened.close()


def test_one_that_was_cancelled_is_not_claimed(path: str) -> None:
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    row = opened.get(number)
    assert row
    opened.cancel(number, 'carol')
    assert opened.claim(row, None) is None
    opened.close()


def test_a_row_is_what_the_schema_says() -> None:
    opened = sqlite_file.Database(':memory:')
    columns = opened.select('PRAGMA table_info(delegation)')
    fields = [field.name for field in dataclasses.fields(delegation.Delegation)]
    assert [column[1] for column in columns] == fields
    opened.close()


def test_what_had_succeeded_after_all_is_the_last(path: str) -> None:
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    claim(opened, number)
    opened.note_exec(number)
    opened.close_abandoned('blog', resumable=True)
    opened.end(number, delegation.SUCCEEDED, status=0)
    last = opened.last('blog', delegation.SUCCEEDED)
    assert last and last.number == number
    opened.close()


@pytest.mark.parametrize(
    ('asked', 'receiver', 'left'),
    [
        (True, True, delegation.NOT_ENDED),
        (True, False, delegation.GOES_ON),
        (False, True, ''),
    ],
)
def test_what_was_to_be_cancelled_when_its_process_was_killed_is(
    path: str, asked: bool, receiver: bool, left: str
) -> None:
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    claim(opened, number)
    if asked:
        opened.note_exec(number)
    assert not opened.cancel(number, 'bob')
    opened.close_abandoned('blog', receiver)
    row = opened.get(number)
    assert row and (row.state, row.reason) == ('cancelled', 'cancelled by bob')
    assert row.remedy == left
    opened.close()


def test_what_has_ended_is_not_marked_as_cancelled(path: str) -> None:
    opened = journal.open(path)
    number = ended(opened, 'T1', 1)
    assert not opened.cancel(number, 'bob')
    row = opened.get(number)
    assert row and row.cancelled_by is None
    opened.close()


def test_what_waits_is_in_the_order_in_which_it_was_asked_for(
    path: str,
) -> None:
    opened = journal.open(path)
    numbers = [
        opened.record('blog', A, None, 'T2', 2),
        opened.record('blog', A, None),
        opened.record('blog', A, None, 'T1', 1),
        opened.record('blog', A, None),
    ]
    order = [row.number for row in opened.pending('blog')]
    assert order == [numbers[2], numbers[1], numbers[0], numbers[3]]
    opened.close()


def test_one_that_goes_along_is_not_cancelled_alone(path: str) -> None:
    opened = journal.open(path)
    first = opened.record('blog', A, None, 'T1', 1)
    second = opened.record('blog', B, None, 'T2', 2)
    claim(opened, second, taken=[first])
    assert not opened.cancel(first, 'bob')
    opened.end(second, delegation.SUCCEEDED)
    rows = [opened.get(number) for number in (first, second)]
    assert [row and row.state for row in rows] == ['superseded', 'succeeded']
    opened.close()
