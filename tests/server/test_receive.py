"""What a receiver is asked is read strictly, whoever asks."""

from __future__ import annotations

import contextlib
import json
import types
from typing import Any

import protocols
import pytest
from hypothesis import given, strategies as st
from receivers import Receiver
from repositories import Repository
from world import World

from hgext_delegate import protocol
from hgext_delegate.receiver import environment

NODE = '0123456789abcdef' * 2 + '01234567'
BLOG = types.SimpleNamespace(name='blog', command=None)
DEPLOY = protocol.Request(protocol.DEPLOY, 'blog', NODE)


def data(**fields: Any) -> bytes:
    return json.dumps({**protocols.content(NODE), **fields}).encode()


def refusal(raw: bytes, request: protocol.Request = DEPLOY) -> str:
    with pytest.raises(protocol.RequestError) as refused:
        protocol.parse_deploy(raw, request)
    assert refused.value.reason.isprintable()
    assert len(refused.value.reason) < 300
    return refused.value.reason


def test_the_requests_of_protocol_1_are_read() -> None:
    assert protocol.parse_request(protocol.command(BLOG, NODE)) == DEPLOY
    for target in ('a', 'A-b_c.9', 'x' * 100, 'cancel'):
        for verb in (protocol.CANCEL, protocol.STATUS, protocol.STANDBY):
            request = protocol.parse_request(f'hg-delegate 1 {target} {verb}')
            assert request == protocol.Request(verb, target)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', "request refused: ''"),
        ('sh', "request refused: 'sh'"),
        ('\x1b[2J\udcff', "request refused: '\\x1b[2J\\udcff'"),
        (f'hg-delegate 1 blog {NODE} x', 'request refused: '),
        (f'hg-delegate 1 blog {NODE}\n', "'\\n' is not a changeset"),
        (f'hg-delegate 1  blog {NODE}', 'request refused: '),
        (f' hg-delegate 1 blog {NODE}', 'request refused: '),
        (f'hg-delegate 2 blog {NODE}', "protocol '2' is not known"),
        (f'hg-delegate 01 blog {NODE}', "protocol '01' is not known"),
        (f'hg-delegate 1 -R {NODE}', "'-R' is not the name of a target"),
        (f'hg-delegate 1 a/b {NODE}', "'a/b' is not the name of a target"),
        (f'hg-delegate 1 blög {NODE}', "'bl\\xf6g' is not the name of a"),
        (f'hg-delegate 1 {"x" * 101} {NODE}', 'is not the name of a target'),
        (f'hg-delegate 1 blog {NODE[:-1]}', 'is not a changeset, cancel'),
        (f'hg-delegate 1 blog {NODE.upper()}', 'is not a changeset, cancel'),
        (f'hg-delegate 1 blog {"0" * 40}', 'is not a changeset, cancel'),
        (f'hg-delegate 1 blog {"f" * 40}', 'is not a changeset, cancel'),
        ('hg-delegate 1 blog Cancel', "'Cancel' is not a changeset, cancel"),
        ('hg-delegate 1 blog ' + 'x' * 100_000, 'request refused: '),
    ],
)
def test_any_other_request_is_refused(text: str, reason: str) -> None:
    with pytest.raises(protocol.RequestError) as refused:
        protocol.parse_request(text)
    if text.endswith('\n'):
        assert refused.value.reason.endswith(
            "\\n' is not a changeset, cancel, status or standby"
        )
    else:
        assert reason in refused.value.reason
    assert refused.value.reason.isascii()
    assert len(refused.value.reason) < 200


def test_what_the_server_side_composes_is_read() -> None:
    class Row:
        id = 'ab' * 16
        name = 'blog'
        node = NODE
        previous = None
        attempt = 1

    place = {'name': 'r', 'root': '/srv/hg/\udcff'}
    pushes = [{**protocols.PUSH, 'pusher': n} for n in ('alice', 'bob')]
    composed = protocol.compose(Row, place, Row, pushes)
    order = protocol.parse_deploy(composed, DEPLOY)
    assert (order.id, order.target, order.node) == (Row.id, 'blog', NODE)
    assert (order.previous, order.pusher) == (None, 'bob')
    assert order.data == composed
    # a path that is not UTF-8 is not told wrongly
    named = json.loads(composed)['repository']
    assert named == {'name': 'r', 'root': None}
    by_hand = protocol.parse_deploy(
        protocol.compose(Row, place, Row, []), DEPLOY
    )
    assert by_hand.pusher is None
    many = [{**protocols.PUSH, 'url': 'é' * 1000} for _ in range(1000)]
    composed = protocol.compose(Row, place, Row, many)
    assert len(composed) > protocol.MAX_PUSHES // 2
    protocol.parse_deploy(composed, DEPLOY)
    text, named = protocol.compose_named('cancel', 'blog', Row.id)
    assert protocol.parse_request(text).verb == protocol.CANCEL
    assert protocol.parse_named(named)['id'] == Row.id


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'protocol': 2}, 'protocol of the object is not 1'),
        ({'protocol': True}, 'protocol of the object is not 1'),
        ({'protocol': '1'}, 'protocol of the object is not 1'),
        ({'protocol': 1.0}, 'protocol of the object is not 1'),
        ({'id': '../../../../tmp/x'}, 'id of the object is not 32 hex'),
        ({'id': 'AB' * 16}, 'id of the object is not 32 hexadecimal'),
        ({'id': 'ab' * 16 + '\n'}, 'id of the object is not 32 hex'),
        ({'id': 7}, 'id of the object is not 32 hexadecimal digits'),
        ({'target': 'other'}, "target is 'other' in the object and blog in"),
        ({'target': None}, 'target of the object is not a string'),
        ({'node': '1' * 40}, 'in the object and ' + NODE),
        ({'node': '0' * 40}, 'node of the object is not a changeset'),
        ({'node': [NODE]}, 'node of the object is not a changeset'),
        ({'previous': ''}, 'previous of the object is not a changeset'),
        ({'previous': NODE + 'g'}, 'previous of the object is not a changes'),
        ({'repository': []}, 'repository of the object is not an object'),
        ({'attempt': '1'}, 'attempt of the object is not a number'),
        ({'attempt': False}, 'attempt of the object is not a number'),
        ({'pushes': {}}, 'pushes of the object is not a list of objects'),
        ({'pushes': [1]}, 'pushes of the object is not a list of objects'),
        ({'pushes': [{}]}, 'pushes[0] has no node'),
        (
            {'pushes': [protocols.PUSH, {**protocols.PUSH, 'pusher': 1}]},
            'pusher of pushes[1] is not a string or null',
        ),
        (
            {'pushes': [{**protocols.PUSH, 'heads': 'x'}]},
            'heads of pushes[0] is not a list',
        ),
    ],
)
def test_an_object_with_a_wrong_value_is_refused(
    fields: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(data(**fields))


@pytest.mark.parametrize('name', sorted(protocols.content(NODE)))
def test_an_object_without_a_value_is_refused(name: str) -> None:
    content = protocols.content(NODE)
    del content[name]
    raw = json.dumps(content).encode()
    if name == 'omitted':  # which older servers need not know
        protocol.parse_deploy(raw, DEPLOY)
    else:
        assert refusal(raw) == f'the object has no {name}'


@pytest.mark.parametrize(
    ('raw', 'reason'),
    [
        (b'', 'the object is not JSON: Expecting value'),
        (b'\xff', 'the object is not UTF-8'),
        (b'[]', 'standard input is not a JSON object'),
        (b'null', 'standard input is not a JSON object'),
        (data()[:-1], 'the object is not JSON: '),
        (data() + b'{}', 'the object is not JSON: Extra data'),
        (data() + b'\0', 'the object is not JSON: Extra data'),
        (b'{"a": 1, "a": 2}', 'the object has a key twice'),
        (b'{"a": NaN}', 'the object is not JSON: invalid literal'),
        (b'{"a": ' + b'9' * 1_000_000 + b'}', 'a number of 1000000 digits'),
        (b'[' * 1_000_000, 'the object is nested too deeply'),
        (b'"' + b'\\' * 1_000_000, 'the object is not JSON: '),
        (b'"\x1b"', 'the object is not JSON: Invalid control character'),
        (b' ' * (protocol.MAX_BYTES + 1), 'has more than 2097152 bytes'),
    ],
)
def test_what_is_no_such_object_is_refused(raw: bytes, reason: str) -> None:
    assert reason in refusal(raw)


def test_brackets_in_names_are_no_nesting() -> None:
    name = '[{"\\' * 100
    pushes = [{**protocols.PUSH, 'pusher': name}]
    order = protocol.parse_deploy(data(pushes=pushes), DEPLOY)
    assert order.pusher == name


@given(st.binary() | st.text().map(str.encode))
def test_any_input_is_refused_or_read(raw: bytes) -> None:
    with pytest.raises(protocol.RequestError):
        protocol.parse_deploy(raw, DEPLOY)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(protocols.content(NODE))),
)
def test_any_value_of_a_field_is_refused_or_read(value: Any, name: str) -> None:
    try:
        order = protocol.parse_deploy(data(**{name: value}), DEPLOY)
    except protocol.RequestError as refused:
        assert refused.reason.isprintable()
    else:
        told = environment.variables(order, '/x')
        assert (told['HG_NODE'], told['DELEGATE_TARGET']) == (NODE, 'blog')


@given(st.text())
def test_the_pusher_is_one_line_of_text(name: str) -> None:
    order = protocol.Deploy('ab' * 16, 'blog', NODE, None, name, b'')
    told = environment.variables(order, '/x')['DELEGATE_PUSHER']
    assert len(told.encode()) <= 4000
    assert '\0' not in told and len(told.splitlines()) <= 1


@pytest.mark.once
@pytest.mark.parametrize(
    ('request_text', 'sent', 'reason'),
    [
        ('id; touch oops', b'', "request refused: 'id; touch oops'"),
        (f'hg-delegate 1 blog {NODE}', b'x' * 5_000_000, 'has more than'),
        (f'hg-delegate 1 blog {NODE}', b'[' * 100_000, 'nested too deeply'),
        (f'hg-delegate 1 blog {NODE}', data(node='1' * 40), 'node is '),
        ('hg-delegate 1 blog status', b'{"protocol": 1}', 'has no id'),
        (
            'hg-delegate 1 blog cancel',
            b'{"protocol": 1, "id": "../x"}',
            'id of the object is not 32 hexadecimal digits',
        ),
    ],
)
def test_who_logs_in_and_asks_for_anything_else_is_refused(
    world: World,
    repository: Repository,
    request_text: str,
    sent: bytes,
    reason: str,
) -> None:
    receiver = Receiver(world, repository)
    receiver.install()
    ended = receiver.ask(request_text, sent)
    assert ended.returncode == 2
    assert ended.stdout == b''
    assert ended.stderr.startswith(b'delegate-receive: ')
    assert reason.encode() in ended.stderr
    assert b'Traceback' not in ended.stderr
    assert not list(world.deploy.home.rglob('oops'))
    assert not receiver.state.exists()


def test_input_that_is_too_long_is_not_read_to_its_end(
    world: World, repository: Repository
) -> None:
    receiver = Receiver(world, repository)
    receiver.install()
    process = receiver.start(f'hg-delegate 1 blog {NODE}')
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):
        for _ in range(100):
            process.stdin.write(b'x' * 65536)
    # nobody has closed it
    assert process.wait(120) == 2
    process.stdin.close()
    process.stdin = None
    _, said = process.communicate()
    assert b'the object has more than 2097152 bytes' in said


def test_input_without_an_end_is_given_up_on(
    world: World, repository: Repository
) -> None:
    receiver = Receiver(world, repository)
    # a second instead of a minute
    world.deploy.write(
        'hurry.py',
        'def uisetup(ui):\n'
        '    from hgext_delegate.receiver import server\n'
        '    server.PATIENCE = 1.0\n',
    )
    hurry = f'extensions.hurry={world.deploy.home}/hurry.py'
    receiver.install('--config', hurry)
    process = receiver.start(f'hg-delegate 1 blog {NODE}')
    assert process.stdin
    process.stdin.write(data())
    assert process.wait(60) == 2
    _, said = process.communicate()
    assert said == (b'delegate-receive: standard input has no end after 1 s\n')
