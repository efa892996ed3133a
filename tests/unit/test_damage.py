"""A damaged journal is set aside by whoever finds it, wherever the damage."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hgext_delegate.push import outbox
from hgext_delegate.state import (
    delegation,
    files,
    journal,
    pruning,
    sqlite_file,
)

pytestmark = pytest.mark.once


PAGE = 4096
A, B = 'a' * 40, 'b' * 40


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'journal')


@pytest.fixture
def whole(path: str) -> bytes:
    """A journal with as many records as it ever has for three targets."""
    opened = journal.open(path)
    for sequence in range(1, 101):
        for target in ('blog', 'docs', 'site'):
            txn = f'TXN:{sequence:032x}'
            number = opened.record(target, A, 'alice', txn, sequence)
            row = opened.get(number)
            assert row and opened.claim(row, None)
            opened.end(number, delegation.FAILED, reason='exit status 3')
        opened.unmatched('docs', f'none:{sequence:032x}')
    opened.close()
    return Path(path).read_bytes()


def use(opened: journal.Journal, txn: str) -> None:
    """All that the push TXN does, with outbox entries old and new."""
    known = [f'TXN:{sequence:032x}' for sequence in range(90, 101)]
    opened.settled([*known, txn])
    opened.known(txn)
    number = opened.record('blog', B, 'alice', txn, 1000)
    opened.unmatched('docs', txn)
    assert opened.find('blog', txn) == number
    opened.close_abandoned('blog', False)
    opened.running('blog')
    opened.last('blog', delegation.SUCCEEDED, delegation.FAILED)
    row = opened.get(number)
    assert row
    taken = [other.number for other in opened.pending('blog')]
    claimed = opened.claim(row, None, taken)
    assert claimed
    opened.note_exec(number)
    opened.carried(number)
    opened.end(number, delegation.SUCCEEDED, status=0)
    if opened.last_error:
        raise opened.last_error
    paths = files.Paths('r', '', '', '')
    pruning.prune(opened, paths, ['blog'], 20, outbox.Outbox(following=2))
    opened.newest(None, 1000)


def trials(path: str) -> int:
    """How many pushes met damage until one did not."""
    for count in range(5):
        opened = None
        try:
            opened = journal.open(path)
            found = opened.last_error
            opened.last_error = None
            use(opened, f'new {count}')
        except journal.JournalError as error:
            assert error.damaged
            assert error.remedy
        else:
            if not found:
                return count
            assert found.damaged
        finally:
            if opened:
                opened.close()
    raise AssertionError('it is found damaged again and again')


def cut(data: bytes, at: int) -> bytes:
    return data[:at]


def zero(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(PAGE) + data[at + PAGE :]


def scramble(data: bytes, at: int) -> bytes:
    noise = random.Random(at).randbytes(PAGE)
    return data[:at] + noise + data[at + PAGE :]


@pytest.mark.parametrize('damage', [cut, zero, scramble])
def test_damage_in_any_page_is_met_by_one_push_at_most(
    path: str, whole: bytes, damage: Callable[[bytes, int], bytes]
) -> None:
    met = 0
    for at in range(0, len(whole), PAGE):
        for name in Path(path).parent.iterdir():
            name.unlink()
        Path(path).write_bytes(damage(whole, at))
        count = trials(path)
        assert count <= 1
        met += count
        asides = list(Path(path).parent.glob('journal.damaged-*'))
        assert len(asides) == count
    assert met


def test_damage_within_records_is_met_by_one_push_at_most(
    path: str, whole: bytes
) -> None:
    met = 0
    for seed in range(40):
        noise = random.Random(seed)
        data = bytearray(whole)
        for _ in range(20):
            at = noise.randrange(PAGE, len(data))
            data[at : at + 5] = noise.choice([b'x', noise.randbytes(1)]) * 5
        for name in Path(path).parent.iterdir():
            name.unlink()
        Path(path).write_bytes(data)
        count = trials(path)
        assert count <= 1
        met += count
    assert met


def test_what_another_process_has_begun_anew_is_not_set_aside(
    path: str, whole: bytes
) -> None:
    Path(path).write_bytes(scramble(whole, 5 * PAGE))
    one, two = journal.open(path), journal.open(path)
    for opened in (one, two):
        with pytest.raises(journal.JournalError) as caught:
            use(opened, 'new')
        assert caught.value.damaged
        opened.close()
        # the second comes when the first has begun a new one
        journal.open(path).close()
    assert len(list(Path(path).parent.glob('journal.damaged-*'))) == 1


def test_two_in_one_second_have_names_of_their_own(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('time.time', lambda: 1000.0)
    for _ in range(2):
        Path(path).write_bytes(b'no database\n' * 1000)
        journal.open(path).close()
    names = sorted(os.listdir(Path(path).parent))
    assert names == ['journal', 'journal.damaged-1000', 'journal.damaged-1001']


def find_damage(opened: journal.Journal) -> None:
    malformed = sqlite3.DatabaseError('database disk image is malformed')
    assert opened.db._error(malformed).damaged


def test_what_runs_while_damage_is_found_is_recorded_in_the_new_one(
    path: str,
) -> None:
    opened = journal.open(path)
    opened.record('blog', A, 'alice', 'T1', 1)
    old = opened.record('blog', A, 'alice', 'T2', 2)
    row = opened.get(opened.record('blog', B, 'bob', 'T3', 3))
    assert row and opened.claim(row, None, [old])
    find_damage(opened)
    opened.end(row.number, delegation.SUCCEEDED, status=0)
    found = opened.get(row.number)
    assert found and found.state == delegation.SUCCEEDED
    opened.close()
    opened = journal.open(path)
    assert not opened.last_error
    found = opened.get(row.number)
    assert found and (found.id, found.state) == (row.id, delegation.SUCCEEDED)
    merged = opened.get(old)
    assert merged and merged.state == delegation.SUPERSEDED
    assert opened.record('blog', A, 'alice', 'T4', 4) > row.number
    opened.close()


def test_an_end_that_met_the_damage_is_recorded_in_the_new_one(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = journal.open(path)
    row = opened.get(opened.record('blog', A, 'alice', 'T1', 1))
    assert row and opened.claim(row, None)

    def writing(*args: object) -> None:
        monkeypatch.undo()
        raise opened.db._error(sqlite3.DatabaseError('malformed'))

    monkeypatch.setattr(opened.db, 'writing', writing)
    opened.end(row.number, delegation.SUCCEEDED, status=0)
    assert opened.last_error and opened.last_error.damaged
    found = opened.get(row.number)
    assert found and found.state == delegation.SUCCEEDED
    opened.close()
    opened = journal.open(path)
    assert opened.settled(['T1']) == {('T1', 'blog')}
    opened.close()


def test_the_numbers_of_a_new_one_are_not_taken_for_those_of_the_old(
    path: str,
) -> None:
    opened = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    find_damage(opened)
    other = journal.open(path)
    assert other.record('docs', B, 'bob', 'T2', 2) == number
    with pytest.raises(journal.JournalError, match='replaced meanwhile'):
        opened.get(number)
    opened.end(number, delegation.SUCCEEDED, status=0)
    with pytest.raises(journal.JournalError):
        opened.note_exec(number)
    opened.close()
    row = other.get(number)
    assert row and (row.target, row.state) == ('docs', delegation.PENDING)
    assert row.exec_sent_at is None
    other.close()


def test_the_newest_three_that_were_set_aside_are_kept(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(path).parent
    (folder / 'journal.damaged-x').touch()
    for moment in (1005, 999, 1001, 1002, 1003):
        monkeypatch.setattr('time.time', lambda now=moment: float(now))
        Path(path).write_bytes(b'no database\n' * 1000)
        journal.open(path).close()
    kept = sorted(name.name for name in folder.glob('journal.damaged-1*'))
    assert kept == [f'journal.damaged-{n}' for n in (1002, 1003, 1005)]
    assert (folder / 'journal.damaged-x').exists()


def test_a_look_makes_mends_and_waits_for_nothing(
    path: str, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.unlink(path)
    with pytest.raises(journal.JournalError):
        journal.peek(path)
    assert not os.path.exists(path)
    Path(path).write_bytes(scramble(whole, 0))
    with pytest.raises(journal.JournalError):
        journal.peek(path)
    assert os.listdir(Path(path).parent) == ['journal']
    Path(path).write_bytes(whole)
    looked = journal.peek(path)
    known = f'TXN:{100:032x}'
    assert looked.settled([known, 'new']) == {
        (known, target) for target in ('blog', 'docs', 'site')
    }
    with pytest.raises(journal.JournalError):
        looked.record('blog', A, 'alice', 'new', 1000)
    looked.close()
    # Where there is no WAL a writer keeps readers out.
    monkeypatch.setattr(sqlite_file, 'BUSY_SECONDS', 600)
    holder = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False
    )
    holder.execute('PRAGMA journal_mode = DELETE')
    holder.execute('BEGIN EXCLUSIVE')
    release = threading.Timer(2, holder.execute, ['ROLLBACK'])
    release.start()
    with pytest.raises(journal.JournalError, match='locked'):
        journal.peek(path)
    release.cancel()
    release.join()
    holder.close()


def test_a_full_disk_is_no_damage_and_can_be_tried_again(
    path: str, whole: bytes
) -> None:
    opened = journal.open(path)
    number = opened.record('blog', B, 'alice', 'new', 1000)
    row = opened.get(number)
    assert row
    limit = opened.db._db.execute
    pages = limit('PRAGMA page_count').fetchone()[0]
    limit(f'PRAGMA max_page_count = {pages}')
    filled = 0
    with pytest.raises(journal.JournalError) as caught:
        while True:
            opened.record('blog', A, 'alice' * 100, f'more {filled}', 2000)
            filled += 1
    assert not caught.value.damaged and 'full' in caught.value.reason
    assert 'disk' in caught.value.remedy
    limit('PRAGMA max_page_count = 100000')
    assert opened.claim(row, None)
    opened.close()
    assert trials(path) == 0


def test_the_end_is_written_when_it_can_be_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, 'BUSY_SECONDS', 0.01)
    opened = journal.open(path)
    old = opened.record('blog', A, 'alice', 'T1', 1)
    number = opened.record('blog', B, 'bob', 'T2', 2)
    row = opened.get(number)
    assert row and opened.claim(row, None, [old])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute('BEGIN IMMEDIATE')
    with pytest.raises(journal.JournalError):
        opened.note_exec(number)
    opened.end(number, delegation.SUCCEEDED, status=0)
    assert opened.last_error
    holder.close()
    opened.close()
    opened = journal.open(path)
    states = [found.state for found in opened.newest('blog', 9)]
    assert states == [delegation.SUCCEEDED, delegation.SUPERSEDED]
    opened.close()


def test_whatever_fails_in_a_file_that_was_set_aside_is_damage(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, 'BUSY_SECONDS', 0)
    opened = journal.open(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute('BEGIN IMMEDIATE')
    with pytest.raises(journal.JournalError) as caught:
        opened.record('blog', A, 'alice', 'T1', 1)
    assert not caught.value.damaged
    os.rename(path, path + '.damaged-1')
    with pytest.raises(journal.JournalError) as caught:
        opened.record('blog', A, 'alice', 'T1', 1)
    assert caught.value.damaged and 'new one' in caught.value.remedy
    fresh = journal.open(path)
    number = opened.record('blog', A, 'alice', 'T1', 1)
    assert fresh.record('blog', A, 'alice', 'T1', 1) == number
    for each in (holder, opened, fresh):
        each.close()


def test_a_link_to_another_journal_is_not_followed(path: str) -> None:
    other = path + '-of-another-repository'
    opened = journal.open(other)
    opened.record('blog', A, 'alice', 'T1', 1)
    opened.close()
    os.symlink(other, path)
    with pytest.raises(journal.JournalError, match='symbolic links'):
        journal.open(path)
    opened = journal.open(other)
    assert opened.find('blog', 'T1')
    opened.close()


def test_one_who_reads_while_it_is_made_does_not_stop_it(path: str) -> None:
    journal.open(path).close()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute('PRAGMA journal_mode = DELETE')
    reader.execute('BEGIN')
    reader.execute('SELECT * FROM delegation').fetchall()
    opened = journal.open(path)
    reader.execute('COMMIT')
    number = opened.record('blog', A, 'alice', 'T1', 1)
    opened.close()
    reader.close()
    opened = journal.open(path)
    assert opened.find('blog', 'T1') == number
    opened.close()


def test_many_who_make_it_at_once_make_one(path: str) -> None:
    start = threading.Barrier(8)
    errors: list[Exception] = []

    def make(number: int) -> None:
        start.wait()
        try:
            opened = journal.open(path)
            opened.record('blog', A, 'alice', f'T{number}', number)
            opened.close()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [
        threading.Thread(target=make, args=(number,)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    opened = journal.open(path)
    assert len(opened.newest('blog', 99)) == 8
    opened.close()
