"""What is made of a push, in this process: any names, any shape, any size."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from mercurial import (
    dispatch,  # noqa: F401 (Mercurial 7.2 wants it first)
    encoding,
    hg,
    metadata,
    ui as uimod,
)

from hgext_delegate import protocol
from hgext_delegate.push import outbox, push, selection

ENCODINGS = ['ascii', 'utf-8', 'iso-8859-15', 'shift_jis', 'no-such']
HOOKARGS = {'source': b'serve', 'url': b'remote:ssh:::1', 'txnid': b'TXN:1'}
NODE = 'a' * 40
# 4 bytes each in UTF-8, 12 in JSON.
HUGE = '\U0001f600'.encode() * 250_000


@pytest.fixture
def repo(tmp_path: Path) -> Any:
    ui = uimod.ui()
    return hg.repository(ui, bytes(tmp_path / 'repo'), create=True)


@pytest.fixture(autouse=True)
def same_encoding() -> Iterator[None]:
    before = encoding.encoding, encoding.fallbackencoding
    yield
    encoding.encoding, encoding.fallbackencoding = before


def commit(
    repo: Any, *branches: bytes, parents: Sequence[Sequence[int]] = ()
) -> None:
    """Add a changeset without files on each branch; roots, or on PARENTS."""
    node = repo.changelog.node
    with repo.lock(), repo.transaction(b'test') as transaction:
        for branch, (one, other, *_) in itertools.zip_longest(
            branches, [[*revs, -1, -1] for revs in parents], fillvalue=(-1, -1)
        ):
            repo.changelog.add(
                *(node(-1), metadata.ChangingFiles(), b'%d' % len(repo)),
                *(transaction, node(one), node(other), b'me', b'0 0'),
                {b'branch': branch},
            )


def made(repo: Any, first: int, last: int, **hookargs: Any) -> push.Push:
    return push.make(repo, first, last, {**HOOKARGS, **hookargs}, None)


def size(pushed: push.Push) -> int:
    return len(json.dumps(dataclasses.asdict(pushed)))


def test_the_heads_are_those_among_what_was_pushed(repo: Any) -> None:
    choose = random.Random(1).sample
    parents = [choose(range(-1, rev), min(2, rev + 1)) for rev in range(25)]
    commit(repo, *[b'default'] * 25, parents=parents)
    for first in range(25):
        for last in range(first, 25):
            pushed = made(repo, first, last)
            expected = repo.revs(b'sort(heads(%d:%d), -rev)', first, last)
            nodes = [repo[rev].hex().decode() for rev in expected]
            assert [head['node'] for head in pushed.heads] == nodes
            assert pushed.changesets == last - first + 1
            assert pushed.node == repo[first].hex().decode()
            assert pushed.node_last == repo[last].hex().decode()


def test_ten_thousand_heads_are_bounded_and_counted(repo: Any) -> None:
    count = 10_000
    commit(repo, *(b'%d ' % n + HUGE[:2400] for n in range(count)))
    pushed = made(repo, 0, count - 1)
    assert size(pushed) <= push.MAX_BYTES
    assert pushed.changesets == count
    # the newest come first
    assert pushed.heads[0]['node'] == repo[count - 1].hex().decode()
    assert len(pushed.heads) >= 2
    assert pushed.omitted == {'heads': count - len(pushed.heads)}


def test_thousands_of_bookmarks_are_bounded_and_counted(repo: Any) -> None:
    commit(repo, b'default')
    node = repo[0].node()
    names = [b'%05d' % number for number in range(3000)]
    with repo.wlock(), repo.lock(), repo.transaction(b'test') as transaction:
        changes = [(name, node) for name in names]
        repo._bookmarks.applychanges(repo, transaction, changes)
    moved = dict.fromkeys(names, (None, node))
    pushed = made(repo, 0, 0, changes={b'bookmarks': moved, b'phases': []})
    assert size(pushed) <= push.MAX_BYTES
    kept = len(pushed.bookmarks)
    assert list(pushed.bookmarks) == [n.decode() for n in names[:kept]]
    assert pushed.heads[0]['bookmarks'] == list(pushed.bookmarks)
    assert kept == push.MAX_ITEMS
    assert pushed.omitted == {'bookmarks': 2900, 'head_bookmarks': 2900}


def test_names_that_look_the_same_when_cut_are_counted(repo: Any) -> None:
    commit(repo, b'default')
    long = b'x' * 5000
    moved = {long + b'%d' % n: (None, b'\1' * 20) for n in range(3)}
    variables = {f'USERVAR_{long.decode()}{n}': b'' for n in range(4)}
    changes = {b'bookmarks': moved, b'phases': []}
    pushed = made(repo, 0, 0, changes=changes, **variables)
    assert pushed.omitted == {'bookmarks': 2, 'variables': 3}


def test_a_megabyte_of_a_name_is_cut(repo: Any) -> None:
    commit(repo, HUGE)
    moved = {HUGE: (b'\1' * 20, None)}
    pushed = push.make(
        repo,
        0,
        0,
        {
            **HOOKARGS,
            'url': HUGE,
            'changes': {b'bookmarks': moved, b'phases': []},
            'USERVAR_' + HUGE.decode('latin-1'): HUGE,
        },
        push.text(HUGE),
    )
    assert size(pushed) <= push.MAX_BYTES
    cut = '\U0001f600' * (push.MAX_TEXT - 1) + '\u2026'
    assert pushed.heads[0]['branch'] == pushed.pusher == pushed.url == cut
    assert list(pushed.bookmarks) == [cut]
    assert pushed.variables == {cut: cut}
    assert not pushed.omitted


def test_phases_counts_what_became_public(repo: Any) -> None:
    commit(repo, b'default')
    phases = [
        (range(4), (None, 0)),
        (range(4, 5), (1, 0)),
        (range(5, 9), (None, 1)),
        (range(9, 10), (0, 1)),
    ]
    changes = {b'bookmarks': {}, b'phases': phases}
    assert made(repo, 0, 0, changes=changes).phases == 5


# Repeated, since hypothesis by itself makes no large examples.
times = st.sampled_from([0, 1, 7, 40, 400])
values = st.builds(bytes.__mul__, st.binary(max_size=20), times)


@given(values, st.sampled_from(ENCODINGS))
def test_any_bytes_are_bounded_text(value: bytes, fallback: str) -> None:
    encoding.fallbackencoding = fallback.encode()
    text = push.text(value)
    text.encode()
    assert len(text) <= push.MAX_TEXT
    assert bool(text) == bool(value)


@given(values, st.sampled_from(ENCODINGS))
def test_any_bytes_of_the_server_are_bounded_text(
    value: bytes, local: str
) -> None:
    encoding.encoding = local.encode()
    text = push.localtext(encoding.strtolocal('') + value)
    text.encode()
    assert len(text) <= push.MAX_TEXT


@given(st.text(max_size=push.MAX_TEXT), st.sampled_from(ENCODINGS[:-1]))
def test_text_stays_what_it_is_in_any_encoding(value: str, local: str) -> None:
    encoding.encoding = local.encode()
    assert push.text(value.encode()) == value
    # Mercurial keeps what the local encoding cannot show
    assert push.localtext(encoding.tolocal(value.encode())) == value


def test_the_fallback_encoding_is_the_one_that_hg_shows() -> None:
    encoding.fallbackencoding = b'shift_jis'
    assert push.text('日本'.encode('shift_jis')) == '日本'
    encoding.fallbackencoding = b'ISO-8859-1'
    assert push.text(b'\xe9\xff') == 'éÿ'
    encoding.fallbackencoding = b'no-such'
    assert push.text(b'\xe9\xff') == 'éÿ'


name = st.text(max_size=push.MAX_TEXT)
head = st.fixed_dictionaries(
    {
        'node': st.just(NODE),
        'branch': name,
        'bookmarks': st.lists(name, max_size=5),
        'closed': st.booleans(),
    }
)


@st.composite
def pushes(draw: st.DrawFn) -> push.Push:
    count = draw(times)
    names = draw(st.lists(name, min_size=1, max_size=4))
    many = [
        f'{n} {word}'[: push.MAX_TEXT] for n in range(count) for word in names
    ]
    return push.Push(
        node=NODE,
        node_last=NODE,
        changesets=draw(st.integers(0, 2**40)),
        heads=draw(st.lists(head, max_size=3)) * count,
        bookmarks=dict.fromkeys(many, (None, NODE)),  # type: ignore[arg-type]
        phases=draw(st.integers(0, 2**40)),
        pusher=draw(st.none() | name),
        source='serve',
        url=draw(name),
        transaction='TXN:' + NODE,
        time=push.now(),
        variables=dict.fromkeys(many, names[0]),
        caused_by=None,
        omitted={},
    )


@given(pushes())
def test_any_push_is_bounded_and_what_is_left_out_is_counted(
    whole: push.Push,
) -> None:
    fields = ('heads', 'bookmarks', 'variables')
    wanted = {name: len(getattr(whole, name)) for name in fields}
    cut = push._bounded(whole, wanted)
    assert size(cut) <= push.MAX_BYTES
    for field, count in wanted.items():
        assert len(getattr(cut, field)) + cut.omitted.get(field, 0) == count
    left = sum(len(one['bookmarks']) for one in whole.heads[: len(cut.heads)])
    left -= sum(len(one['bookmarks']) for one in cut.heads)
    assert cut.omitted.get('head_bookmarks', 0) == left
    assert 0 not in cut.omitted.values()
    # as much as fits, in order
    for mine, theirs in zip(cut.heads, whole.heads):
        assert mine['node'] == theirs['node']
    assert list(whole.bookmarks)[: len(cut.bookmarks)] == list(cut.bookmarks)


BLOG = types.SimpleNamespace(name='blog')


def row(**fields: Any) -> Any:
    values = {'id': 'x', 'node': NODE, 'previous': None, 'attempt': 1}
    return types.SimpleNamespace(**{**values, **fields})


@given(st.lists(pushes().map(dataclasses.asdict), max_size=3), name)
def test_any_object_is_one_line_of_ascii(
    pushed: list[dict[str, Any]], root: str
) -> None:
    repository = {'name': 'a', 'root': root}
    line = protocol.compose(BLOG, repository, row(), pushed)
    assert line.count(b'\n') == 1 and line.endswith(b'\n')
    read = json.loads(line.decode('ascii'))
    assert read['repository'] == repository
    assert read['omitted'] + len(read['pushes']) == len(pushed)


def test_a_thousand_large_pushes_are_bounded_and_the_newest_are_kept() -> None:
    pushed = [{'n': n, 'x': 'é' * 10_000} for n in range(1000)]
    line = protocol.compose(BLOG, {}, row(), pushed)
    assert len(line) <= protocol.MAX_PUSHES + 1000
    read = json.loads(line)
    count = len(read['pushes'])
    assert [one['n'] for one in read['pushes']] == [*range(1000 - count, 1000)]
    assert count > 10 and read['omitted'] == 1000 - count


def test_a_path_that_is_no_utf8_is_null() -> None:
    root = b'/srv/\xff\xc3\xab'.decode('utf-8', 'surrogateescape')
    line = protocol.compose(BLOG, {'name': 'a', 'root': root}, row(), [])
    assert json.loads(line)['repository']['root'] is None


@pytest.mark.parametrize(
    'damage',
    [
        {'node': None, 'node_last': None},
        {'node': NODE, 'node_last': None},
        {'node': NODE, 'node_last': 'tip'},
        {'node': NODE[1:], 'node_last': NODE},
        {'node': NODE, 'node_last': NODE, 'heads': [{'nodf': 'x'}]},
    ],
)
def test_an_entry_that_names_no_changesets_is_none(damage: Any) -> None:
    good: dict[str, Any] = {
        'sequence': 1,
        'txn': 'TXN:1',
        'targets': ['blog'],
        'push': {
            'node': NODE,
            'node_last': NODE,
            'pusher': None,
            'source': 'serve',
            'time': '2026-01-01T00:00:00Z',
        },
    }
    assert len(outbox.parse(json.dumps(good).encode()).entries) == 1
    for bad in ({'push': {**good['push'], **damage}}, {'sequence': math.inf}):
        line = json.dumps({**good, **bad}).encode()
        box = outbox.parse(line)
        assert (box.entries, box.unread) == ((), (line,))


def test_many_moves_are_merged_and_none_is_lost(
    repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, 'MAX_RANGES', 3)
    commit(repo, *[b'default'] * 10)
    nodes = [repo.changelog.node(rev) for rev in range(10)]
    with repo.lock(), repo.transaction(b'test') as transaction:
        moved = {b'b%d' % rev: nodes[rev] for rev in (0, 2, 4, 6, 8)}
        repo._bookmarks.applychanges(repo, transaction, list(moved.items()))
        ends = {name: (None, at) for name, at in moved.items()}
        found = selection.moves(repo, {b'bookmarks': ends})
    assert len(found['bookmark']) == 3
    nothing = {'node': None, 'node_last': None}
    # and nothing counts that has not moved
    assert selection.brought(repo, nothing, found, ['bookmark']) == [
        0,
        2,
        4,
        6,
        8,
    ]
    phases = [(range(rev, rev + 1), (1, 0)) for rev in (1, 3, 5, 7, 9)]
    assert len(selection.moves(repo, {b'phases': phases})['phase']) == 3
