"""What a delegation printed is one file that one writes and others follow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hgext_delegate.state import files, output_log

pytestmark = pytest.mark.once


def file(path: Path) -> files.File:
    return files.File(str(path.parent), path.name)


def read_all(path: Path) -> list[bytes]:
    reader = output_log.Reader(file(path))
    lines = []
    while found := reader.read():
        lines += found
    reader.close()
    return lines


def test_a_reader_gets_whole_lines_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 1000)
    reader = output_log.Reader(file(path))
    assert reader.read() == []
    log.write([b'one', b'two'])
    assert reader.read() == [b'one', b'two']
    os.write(log.fd, b'half')
    assert reader.read() == []
    os.write(log.fd, b' and half\n')
    assert reader.read() == [b'half and half']
    log.close()
    reader.close()


def test_more_than_one_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 10**7)
    lines = [b'%d' % number * 50 for number in range(5000)]
    log.write(lines)
    log.close()
    assert read_all(path) == lines


@pytest.mark.parametrize('limit', [0, 11, 12, 50, 59, 60])
def test_what_is_over_the_limit_is_counted(tmp_path: Path, limit: int) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), limit)
    for number in range(10):
        log.write([b'line %d' % number])
    log.close()
    lines = read_all(path)
    kept = limit // 7
    assert lines[:kept] == [b'line %d' % number for number in range(kept)]
    if kept < 10:
        dropped = 10 - kept
        assert lines[kept:] == [
            b'[%d lines, %d bytes more]' % (dropped, 7 * dropped)
        ]


def test_after_one_line_too_long_nothing_is_shown_out_of_order(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 20)
    log.write([b'one', b'x' * 50, b'two'])
    log.close()
    assert read_all(path) == [b'one', b'[2 lines, 55 bytes more]']


def test_a_full_disk_is_counted_and_no_error(tmp_path: Path) -> None:
    if not os.path.exists('/dev/full'):
        pytest.fail('this machine has no /dev/full')
    log = output_log.Log(file(tmp_path / 'log'), 1000)
    os.dup2(os.open('/dev/full', os.O_WRONLY), log.fd)
    log.write([b'one', b'two'])
    log.write([b'three'])
    log.close()


def test_without_room_for_its_first_line_a_log_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'log'
    write = os.write
    monkeypatch.setattr(os, 'write', lambda fd, data: write(fd, data[:5]))
    log = output_log.Log(file(path), 1000)
    monkeypatch.undo()
    assert log.last_error == 'No space left on device'
    log.write([b'one'])
    log.close()
    assert path.read_bytes() == b''


def test_a_log_without_the_first_line_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / 'log').write_bytes(b'ok\n')
    assert read_all(tmp_path / 'log') == [b'ok']


def test_a_log_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    log = output_log.Log(file(tmp_path / 'no' / 'log'), 1000)
    log.write([b'one'])
    log.close()


def test_a_log_is_no_link_and_for_those_who_may_use_its_folder(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'log'
    tmp_path.chmod(0o2775)
    output_log.Log(file(path), 1000).close()
    assert path.stat().st_mode & 0o777 == 0o660
    link = tmp_path / 'link'
    link.symlink_to(path)
    log = output_log.Log(file(link), 1000)
    log.write([b'one'])
    log.close()
    assert path.read_bytes() == files.FIRST_LINE
    with pytest.raises(OSError, match='symbolic'):
        output_log.Reader(file(link))


def test_two_attempts_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    for text in (b'one', b'two'):
        log = output_log.Log(file(path), 1000)
        log.write([text])
        log.close()
    assert read_all(path) == [b'one', b'two']
