"""The outbox keeps what waits, whatever the file has been through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from hgext_delegate.push import outbox, selection

pytestmark = pytest.mark.once


PUSH = {
    'node': 'a' * 40,
    'node_last': 'b' * 40,
    'pusher': None,
    'source': 'serve',
    'time': '2026-01-01T00:00:00Z',
    'transaction': 'TXN:1',
}


def filled(count: int) -> outbox.Outbox:
    box = outbox.Outbox()
    for number in range(count):
        box = outbox.extended(box, f'TXN:{number}', ['blog', 'docs'], PUSH, {})
    return box


def test_what_is_rendered_is_read_again() -> None:
    box = filled(3)
    assert outbox.parse(outbox.render(box)) == box
    assert [entry.sequence for entry in box.entries] == [1, 2, 3]
    assert box.entries[0].targets == ('blog', 'docs')


def test_the_sequence_goes_on_when_all_entries_are_gone() -> None:
    box = outbox.Outbox(following=filled(3).following)
    box = outbox.parse(outbox.render(box))
    assert (
        outbox.extended(box, 'TXN:x', ['a'], PUSH, {}).entries[0].sequence == 4
    )


def test_the_sequence_goes_on_without_the_first_line() -> None:
    lines = outbox.render(filled(3)).splitlines(keepends=True)
    assert outbox.parse(b''.join(lines[1:])).following == 4


def test_an_empty_file_is_an_empty_outbox() -> None:
    assert outbox.parse(b'') == outbox.Outbox()


def test_a_damaged_line_is_kept_and_the_others_are_read() -> None:
    lines = outbox.render(filled(3)).splitlines(keepends=True)
    lines[2] = lines[2][:20] + b'\xff\n'
    box = outbox.parse(b''.join(lines))
    assert [entry.sequence for entry in box.entries] == [1, 3]
    assert box.unread == (lines[2].strip(),)
    assert outbox.parse(outbox.render(box)) == box


@pytest.mark.parametrize('name', ['pusher', 'source', 'time', 'node'])
def test_a_push_that_lacks_what_each_has_is_a_damaged_line(name: str) -> None:
    (line,) = outbox.render(filled(1)).splitlines()[1:]
    record = json.loads(line)
    del record['push'][name]
    line = json.dumps(record).encode()
    assert outbox.parse(line).unread == (line,)


def test_it_is_bounded_by_what_the_journal_has() -> None:
    box = filled(outbox.MAX_ENTRIES + 5)
    both = ('blog', 'docs')
    recorded = {(entry.txn, name) for entry in box.entries for name in both}
    kept = outbox.bounded(box, recorded).entries
    assert kept == box.entries[5:]
    assert outbox.bounded(filled(3), recorded) == filled(3)


def test_what_nobody_has_recorded_is_never_forgotten() -> None:
    box = outbox.Outbox()
    nodes = [f'{number:040x}' for number in range(1, outbox.MAX_ENTRIES + 50)]
    for number, node in enumerate(nodes):
        push = {**PUSH, 'node': node, 'node_last': node, 'changesets': 1}
        moved = {'bookmark': [[node, node]]} if number % 2 else {}
        targets = ['blog'] if number % 2 else ['docs']
        box = outbox.extended(box, f'T{number}', targets, push, moved)
    bounded = outbox.bounded(box, set())
    older = len(nodes) - outbox.MAX_ENTRIES
    assert bounded.entries[2:] == box.entries[older:]
    ends = (1, older - 2), (0, older - 1)
    for entry, (begin, last) in zip(bounded.entries, ends):
        assert entry.push['node'] == nodes[begin]
        assert entry.txn == f'T{last}'
        assert entry.push['node_last'] == nodes[last]
        assert entry.push['changesets'] == (last - begin) // 2 + 1
        mine = nodes[begin : last + 1 : 2] if begin else []
        pairs = [[node, node] for node in mine]
        assert entry.moved.get('bookmark', []) == pairs
    assert outbox.bounded(bounded, set()) == bounded
    assert outbox.parse(outbox.render(bounded)) == bounded


def test_moves_are_bounded_and_cover_all() -> None:
    box = outbox.Outbox()
    count = outbox.MAX_ENTRIES + selection.MAX_RANGES + 20
    nodes = [f'{number:040x}' for number in range(1, count + 1)]
    for number, node in enumerate(nodes):
        push = {**PUSH, 'node': None, 'node_last': None, 'changesets': 0}
        moved = {'bookmark': [[node, node]]}
        box = outbox.extended(box, f'T{number}', ['blog'], push, moved)
    first = outbox.bounded(box, set()).entries[0]
    pairs = first.moved['bookmark']
    assert len(pairs) == selection.MAX_RANGES
    assert pairs[0] == [nodes[0], nodes[20]]
    last = nodes[count - outbox.MAX_ENTRIES - 1]
    assert pairs[-1] == [last, last]


def test_large_pushes_take_no_more_than_their_share() -> None:
    box = outbox.Outbox()
    fat = {**PUSH, 'variables': {'x': 'y' * 60_000}, 'changesets': 1}
    for number in range(200):
        box = outbox.extended(box, f'T{number}', ['blog'], fat, {})
    bounded = outbox.bounded(box, set())
    assert len(outbox.render(bounded)) < outbox.MAX_BYTES + 70_000
    assert bounded.entries[1:] == box.entries[201 - len(bounded.entries) :]


def test_each_line_is_one_ascii_json_object() -> None:
    push = dict(PUSH, pusher='Zoë\n"$(id)\u2028')
    data = outbox.render(outbox.extended(outbox.Outbox(), 'T', ['a'], push, {}))
    data.decode('ascii')
    records = [json.loads(line) for line in data.decode().split('\n')[:-1]]
    assert len(records) == 2
    assert records[1]['push'] == push


@given(st.binary())
def test_no_content_is_an_error(data: bytes) -> None:
    box = outbox.parse(data)
    assert box.following >= 1


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.just('outbox'),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        'outbox',
                        'following',
                        'sequence',
                        'txn',
                        'targets',
                        'push',
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_is_an_error(value: object) -> None:
    line = json.dumps(value).encode()
    box = outbox.parse(line)
    assert len(box.entries) + len(box.unread) <= 1
