"""What a delegation printed is one file that one writes and others follow."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from hgext_delegate.state import files, output_log

pytestmark = pytest.mark.once


def file(path: Path) -> files.File:
    return files.File(str(path.parent), path.name)


def read_all(path: Path) -> list[bytes]:
    reader = output_log.Reader(file(path))
    text = b''
    while found := reader.read():
        text += found
    reader.close()
    return text.splitlines()


def test_a_reader_gets_whole_lines_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 1000)
    reader = output_log.Reader(file(path))
    assert reader.read() == b''
    log.write(b'one\ntwo\n')
    assert reader.read() == b'one\ntwo\n'
    os.write(log.fd, b'half')
    assert reader.read() == b''
    os.write(log.fd, b' and half\n')
    assert reader.read() == b'half and half\n'
    log.close()
    reader.close()


def test_more_than_one_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 10**7)
    lines = [b'%d' % number * 50 for number in range(5000)]
    log.write(b'\n'.join(lines) + b'\n')
    log.close()
    assert read_all(path) == lines


@pytest.mark.parametrize('together', [True, False])
@pytest.mark.parametrize('limit', [0, 11, 12, 50, 69, 70])
def test_of_what_is_over_the_limit_the_middle_is_counted(
    tmp_path: Path, limit: int, together: bool
) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), limit)
    lines = [b'line %d' % number for number in range(10)]
    for part in [lines] if together else [[line] for line in lines]:
        log.write(b''.join(line + b'\n' for line in part))
    log.close()
    begin = (limit + 1) // 2 // 7
    end = (limit - 7 * begin) // 7
    shown = lines
    if begin + end < 10:
        out = 10 - begin - end
        said = b'[%d lines, %d bytes left out]' % (out, 7 * out)
        shown = [*lines[:begin], said, *lines[10 - end :]]
    assert read_all(path) == shown


def test_a_line_longer_than_the_limit_is_counted_whole(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 20)
    log.write(b'one\n' + b'x' * 50 + b'\ntwo\n')
    log.close()
    assert read_all(path) == [b'one', b'[1 lines, 51 bytes left out]', b'two']


def test_a_flood_is_held_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    limit = 4 * 1024 * 1024
    log = output_log.Log(file(path), limit)
    many = b''.join(b'%07d\n' % number for number in range(2**15))
    tracemalloc.start()
    for _ in range(128):
        log.write(many)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < limit
    log.write(b'the end\n')
    log.close()
    lines = read_all(path)
    assert limit - 8 < sum(len(line) + 1 for line in lines) < limit + 50
    assert lines[-2:] == [b'%07d' % (2**15 - 1), b'the end']
    assert lines[:2] == [b'0000000', b'0000001']


def test_lines_of_ours_stand_where_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(file(path), 20)
    log.write(b'no end of line')
    log.add([b'of ours'])
    log.write(b'a\nb\nc\nd\n')
    log.add([b'of ours, too'])
    log.close()
    assert read_all(path) == [
        b'[1 lines, 15 bytes left out]',
        *(b'of ours', b'a', b'b', b'c', b'd', b'of ours, too'),
    ]


def test_a_full_disk_is_counted_and_no_error(tmp_path: Path) -> None:
    if not os.path.exists('/dev/full'):
        pytest.fail('this machine has no /dev/full')
    log = output_log.Log(file(tmp_path / 'log'), 1000)
    os.dup2(os.open('/dev/full', os.O_WRONLY), log.fd)
    log.write(b'one\ntwo\n')
    log.write(b'three\n')
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
    log.write(b'one\n')
    log.close()
    assert path.read_bytes() == b''


def test_a_log_without_the_first_line_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / 'log').write_bytes(b'ok\n')
    assert read_all(tmp_path / 'log') == [b'ok']


def test_a_log_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    log = output_log.Log(file(tmp_path / 'no' / 'log'), 1000)
    log.write(b'one\n')
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
    log.write(b'one\n')
    log.close()
    assert path.read_bytes() == files.FIRST_LINE
    with pytest.raises(OSError, match='symbolic'):
        output_log.Reader(file(link))


def test_two_attempts_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    for text in (b'one', b'two'):
        log = output_log.Log(file(path), 1000)
        log.write(text + b'\n')
        log.close()
    assert read_all(path) == [b'one', b'two']
