"""What a delegation printed is one file that one writes and others follow."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from hgext_delegate.state import output_log

pytestmark = pytest.mark.once


def read_all(path: Path) -> list[bytes]:
    reader = output_log.Reader(str(path))
    lines = []
    while found := reader.read():
        lines += found
    reader.close()
    return lines


def test_a_reader_gets_whole_lines_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(str(path), 1000)
    reader = output_log.Reader(str(path))
    assert reader.read() == []
    log.write(b'one\ntwo\n')
    assert reader.read() == [b'one', b'two']
    os.write(log.fd, b'half')
    assert reader.read() == []
    os.write(log.fd, b' and half\n')
    assert reader.read() == [b'half and half']
    log.close()
    reader.close()


def test_more_than_one_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    log = output_log.Log(str(path), 10**7)
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
    log = output_log.Log(str(path), limit)
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
    log = output_log.Log(str(path), 20)
    log.write(b'one\n' + b'x' * 50 + b'\ntwo\n')
    log.close()
    assert read_all(path) == [b'one', b'[1 lines, 51 bytes left out]', b'two']


def test_a_flood_is_held_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    limit = 4 * 1024 * 1024
    log = output_log.Log(str(path), limit)
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
    log = output_log.Log(str(path), 20)
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
    log = output_log.Log('/dev/full', 1000)
    log.write(b'one\ntwo\n')
    log.write(b'three\n')
    log.close()


def test_a_log_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    log = output_log.Log(str(tmp_path / 'no' / 'log'), 1000)
    log.write(b'one\n')
    log.close()


def test_a_log_is_no_link_and_has_the_permission_of_a_shared_repository(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'log'
    output_log.Log(str(path), 1000, 0o2775).close()
    assert path.stat().st_mode & 0o777 == 0o664
    link = tmp_path / 'link'
    link.symlink_to(path)
    log = output_log.Log(str(link), 1000)
    log.write(b'one\n')
    log.close()
    assert path.read_bytes() == b''
    with pytest.raises(OSError, match='symbolic'):
        output_log.Reader(str(link))


def test_two_attempts_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / 'log'
    for text in (b'one', b'two'):
        log = output_log.Log(str(path), 1000)
        log.write(text + b'\n')
        log.close()
    assert read_all(path) == [b'one', b'two']
