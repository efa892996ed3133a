"""A verdict is read from a line of ours, and from nothing that looks so."""

from __future__ import annotations

import pytest
import verdict

pytestmark = pytest.mark.once

NODE = '0123456789abcdef' * 2 + '01234567'


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        (b'deployed 0123456789ab in 2.1 s', verdict.deployed(NODE)),
        (b'superseded by 0123456789ab', verdict.superseded(NODE)),
        (b'failed: exit status 3 after 1.0 s', verdict.failed('exit status 3')),
        (b'failed: cancelled by a', verdict.failed('cancelled by a')),
        (b'lost: it broke after 0.1 s', verdict.lost('it broke')),
        (b'pending: it is after 8', verdict.pending('it is after 8')),
        (b'handed over', verdict.handed_over()),
        (b'handed over as delegation 12', verdict.handed_over(12)),
    ],
)
def test_each_verdict_is_read(line: bytes, expected: verdict.Verdict) -> None:
    for start, end in ((b'', b''), (b'remote: ', b''), (b'', b'\n')):
        said = start + b'delegate: blog: ' + line + end
        assert verdict.read(said) == expected
    said = b'blog| building\nremote: delegate: docs: %s\n(hint)\n' % line
    (other,) = verdict.among(said)
    assert (other.target, other.detail) == ('docs', expected.detail)


@pytest.mark.parametrize(
    'line',
    [
        b'blog| delegate: blog: deployed 0123456789ab in 0.1 s',
        b'delegate: blog: deployed 0123456789ab in 0.1 s, or so',
        b'delegate: blog: deployed in 0.1 s',
        b'delegate: waiting for delegation 1 of alice to blog',
        b'',
    ],
)
def test_anything_else_is_no_verdict(line: bytes) -> None:
    assert verdict.read(line).state == ''
    assert verdict.among([line]) == []
