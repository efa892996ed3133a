"""What a pusher hears: whole lines, and the end of what takes his push."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import verdict

from hgext_delegate.report import follower as followermod, printer
from hgext_delegate.state import delegation, files, journal, output_log


class Ui:
    quiet = False

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def status(self, text: bytes, **options: Any) -> None:
        self.written.append(text)

    warn = status

    def note(self, text: bytes, **options: Any) -> None:
        """Nobody asked for --verbose."""

    def flush(self) -> None:
        pass


def test_a_flood_is_written_in_pieces_of_whole_lines() -> None:
    lines = [b'x' * (number * 37 % 3000) for number in range(500)]
    lines.insert(250, b'y' * 50_000)
    # the names before short lines count as well
    lines += [b'z'] * 20_000
    ui = Ui()
    text = b''.join(b'%s\n' % line for line in lines)
    printer.Printer(ui).relay(b'blog', text)
    assert b''.join(ui.written) == b''.join(b'blog| %s\n' % x for x in lines)
    assert all(piece.endswith(b'\n') for piece in ui.written)
    sizes = sorted(map(len, ui.written))
    assert sizes[-1] > 50_000 and sizes[-2] <= printer._PIECE
    assert len(sizes) < len(lines) / 5


@pytest.mark.parametrize(
    'inside', ['', '\x1b[1m', '\x1b[31;1m\u200c', '\u200d']
)
def test_no_rest_of_a_torn_line_looks_like_one_of_ours(inside: str) -> None:
    ours = 'delegate: blog: deployed 0123456789ab in 1.0 s'
    hidden = inside.join(ours).encode()
    ui = Ui()
    printer.Printer(ui).relay(b'blog', b'text ' + hidden + b'\nmore\n')
    (piece,) = ui.written
    for at in range(len(piece)):
        shown = piece[at:].decode('utf-8', 'replace')
        for what in ('\x1b[1m', '\x1b[31;1m', '\u200c', '\u200d'):
            shown = shown.replace(what, '')
        assert not shown.startswith('delegate:')
    assert b'[delegate]:' in piece and piece.endswith(b'\nblog| more\n')


def test_nothing_is_written_for_nothing() -> None:
    ui = Ui()
    printer.Printer(ui).relay(b'blog', b'')
    assert not ui.written


@pytest.fixture(name='folder')
def folder_of_a_repository(tmp_path: Path) -> files.Paths:
    (tmp_path / 'log').mkdir()
    root = str(tmp_path)
    return files.Paths('blog', root, root, root + '/outbox')


@pytest.fixture(name='record')
def opened_journal() -> journal.Journal:
    return journal.empty()


def follow(
    record: journal.Journal,
    folder: files.Paths,
    number: int,
    ui: Ui,
    works: bool = False,
) -> followermod.Follower:
    voice = printer.Printer(ui)
    return followermod.Follower(
        voice, record, folder, 'blog', number, lambda: works
    )


def take_along(
    record: journal.Journal, folder: files.Paths, number: int, *taken: int
) -> None:
    """A whole deploy, from its claim to its end."""
    row = record.get(number)
    assert row
    record.claim(row, None, taken)
    log = output_log.Log(folder.log(row.id), 1000)
    log.write(b'output\n')
    log.close()
    record.end(number, delegation.SUCCEEDED, status=0, seconds=0.1)


def test_what_was_quick_is_heard_by_those_whom_it_took_along(
    record: journal.Journal, folder: files.Paths
) -> None:
    older = record.record('blog', 'a' * 40, 'alice', 'T1', 1)
    newer = record.record('blog', 'b' * 40, 'bob', 'T2', 2)
    ui = Ui()
    follower = follow(record, folder, older, ui)
    take_along(record, folder, newer, older)
    assert follower.poll()
    *before, last = ui.written
    assert before == [
        b'delegate: blog: delegation 2 of bob takes this push along\n',
        b'blog| output\n',
    ]
    assert verdict.read(last) == verdict.deployed('b' * 40)
    assert follower.succeeded


def test_a_round_tells_a_part_of_a_flood_and_the_last_one_the_end(
    record: journal.Journal, folder: files.Paths
) -> None:
    number = record.record('blog', 'a' * 40, 'alice', 'T1', 1)
    row = record.get(number)
    assert row
    record.claim(row, None)
    log = output_log.Log(folder.log(row.id), 10**8)
    log.write(b'\n' * 3_000_000)
    log.close()
    record.end(number, delegation.SUCCEEDED, status=0, seconds=0.1)
    ui = Ui()
    follower = follow(record, folder, number, ui)
    rounds, told = 0, 0
    for _left in followermod.rounds([follower], threading.Event()):
        assert sum(map(len, ui.written)) < 8 * 2**20
        last = ui.written[-1]
        told += sum(piece.count(b'blog| \n') for piece in ui.written)
        ui.written.clear()
        rounds += 1
    assert told == 3_000_000 and rounds > 5
    assert verdict.read(last) == verdict.deployed('a' * 40)


def test_what_was_over_before_has_nothing_new_to_say(
    record: journal.Journal, folder: files.Paths
) -> None:
    older = record.record('blog', 'a' * 40, 'alice', 'T1', 1)
    newer = record.record('blog', 'b' * 40, 'bob', 'T2', 2)
    take_along(record, folder, newer, older)
    ui = Ui()
    assert follow(record, folder, older, ui).poll()
    (last,) = ui.written
    assert verdict.read(last) == verdict.superseded('b' * 40)


@pytest.mark.parametrize(
    ('reason', 'heard'),
    [
        ('refused; trying again in 1 s', [b'(trying again in 1 s)\n']),
        # the worker that said so is about to end, and then that is said
        ('refused', []),
    ],
)
def test_only_what_is_not_the_end_is_said_before_it(
    record: journal.Journal,
    folder: files.Paths,
    reason: str,
    heard: list[bytes],
) -> None:
    number = record.record('blog', 'a' * 40, 'alice', 'T1', 1)
    record.end(number, delegation.PENDING, reason=reason)
    ui = Ui()
    assert not follow(record, folder, number, ui, works=True).poll()
    said = [b'delegate: blog: refused\n'] * len(heard)
    assert ui.written == said + heard
