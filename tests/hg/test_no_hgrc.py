"""No file that we write can be read as an hgrc, whoever chose what is in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from mercurial import config, dispatch, error  # noqa: F401 - 7.2 needs it

from hgext_delegate.delivery import worker
from hgext_delegate.push import outbox
from hgext_delegate.receiver import run as runmod
from hgext_delegate.state import delegation, files, journal, output_log

HOSTILE = '[hooks]\npre-status = touch /tmp/hostile\n'
NODE = 'a' * 40


def fill_journal(folder: Path) -> None:
    opened = journal.open(str(folder / 'journal'))
    for number in range(300):
        row = opened.get(opened.record('blog', NODE, '\n' + HOSTILE))
        assert row and opened.claim(row, None)
        # whatever bytes stand before a text
        ends = {'seconds': 10.0, 'status': 10, 'remedy': HOSTILE}
        opened.end(row.number, delegation.FAILED, **ends)
        opened.cancel(row.number, HOSTILE)
        assert number >= 0
    # the log of writes stays as long as somebody has it open
    for name in ('journal', 'journal-wal', 'journal-shm'):
        copy = folder / ('copy-' + name)
        copy.write_bytes((folder / name).read_bytes())
    opened.close()


def fill_log(folder: Path) -> None:
    for name, anew in (('log', False), ('again', False), ('anew', True)):
        log = output_log.Log(files.File(str(folder), name), 10**6, anew)
        log.write(HOSTILE.encode() + b'\n')
        log.close()


def fill_again(folder: Path) -> None:
    fill_log(folder)
    fill_log(folder)


def fill_traceback(folder: Path) -> None:
    try:
        raise KeyError(HOSTILE)
    except KeyError as exc:
        worker.internal_error(files.File(str(folder), 'traceback'), exc)


def fill_outbox(folder: Path) -> None:
    push = {
        'node': NODE,
        'node_last': NODE,
        'pusher': HOSTILE,
        'source': 'serve',
        'time': HOSTILE,
    }
    box = outbox.Outbox(unread=tuple(HOSTILE.encode().splitlines()))
    box = outbox.extended(box, 'T1', ['blog'], push, {})
    assert dataclasses.asdict(box)
    (folder / 'outbox').write_bytes(outbox.render(box))


def fill_receiver(folder: Path) -> None:
    runs = runmod.Runs(str(folder), str(folder / 'clone'))
    row = runs.record('b' * 32, 'blog', NODE)
    runs.save_object(row.id, b'{"a": "=\\n[hooks]\\npre-status = x"}\n')
    runs.claim(row, None)
    lock = runs.acquire('c' * 32)
    assert lock is not None
    log = runs.open_log(row.id)
    runmod.say(log, '[hooks]', HOSTILE)
    log.write(HOSTILE.encode())
    log.close()
    runs.end(row.number, delegation.FAILED, 10, HOSTILE)
    runs.close()


def sections(path: Path) -> list[bytes]:
    """Those that count if a repository's hgrc is PATH; hg reads it whole, or
    does not run at all."""
    read = config.config()
    try:
        read.read(bytes(path))
    except error.ConfigError:
        return []
    return list(read.sections())


def written(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob('*') if path.is_file())


def test_the_trial_finds_what_is_an_hgrc(tmp_path: Path) -> None:
    (tmp_path / 'x').write_text('a line = without a section\n' + HOSTILE)
    assert b'hooks' in sections(tmp_path / 'x')


@pytest.mark.parametrize(
    'fill',
    [
        fill_journal,
        fill_log,
        fill_again,
        fill_traceback,
        fill_outbox,
        fill_receiver,
    ],
)
def test_no_file_of_ours_is_an_hgrc(tmp_path: Path, fill) -> None:
    fill(tmp_path)
    found = list(written(tmp_path))
    assert found
    for path in found:
        read = sections(path)
        # one line of JSON is no section
        assert read in ([], [b'']), path


def test_a_journal_is_none_whatever_its_header_counts(tmp_path: Path) -> None:
    path = tmp_path / 'journal'
    journal.open(str(path)).close()
    data = bytearray(path.read_bytes())
    # as its change counter and its size may be: the first line is an item
    data[24:32] = b'========'
    whole = bytes(data[:100]) + b'\n' + HOSTILE.encode()
    path.write_bytes(whole)
    assert sections(path) == []
    path.write_bytes(whole.replace(b'\nhg\n', b'\0\0\0\0'))
    assert b'hooks' in sections(path)
