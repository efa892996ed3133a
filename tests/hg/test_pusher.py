"""The pusher's name is what the server knows, not what a client says."""

from __future__ import annotations

import os
import pwd
import sys
import types
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st
from mercurial import dispatch, encoding, ui as uimod  # noqa: F401

from hgext_delegate.commands import cancel
from hgext_delegate.config import parsers
from hgext_delegate.push import push

SSH = b'remote:ssh:127.0.0.1'
HTTP = b'remote:http:127.0.0.1:'
RULES = 'mercurialserver.ruleset'

# All that may name the pusher, in the order in which it counts.
SOURCES = [
    ('hgweb', b'REMOTE_USER'),
    ('heptapod', b'HEPTAPOD_USERINFO_USERNAME'),
    ('mercurial-server', b''),
    ('kallithea', b'KALLITHEA_EXTRAS'),
    ('hgkeeper', b'HGK_USERNAME'),
    ('mine', b'MY_USER'),
    ('other', b'HTTP_X_OTHER'),
]
VARIABLES = [variable for _, variable in SOURCES if variable]


def named(
    environ: Mapping[bytes, bytes],
    url: bytes = SSH,
    source: bytes = b'serve',
    *,
    variables: str = '',
    process: Mapping[bytes, bytes] | None = None,
    rules: Any = None,
) -> str | None:
    """Who pushed, with these variables of the request and of the process."""
    ui = uimod.ui()
    ui.environ = dict(environ)
    ui.setconfig(b'delegate', b'user-variables', variables.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, 'environ', process or {})
        if rules is not None:
            module = types.SimpleNamespace(rules=rules)
            patch.setitem(sys.modules, RULES, module)
        named = dict(ui.configitems(b'delegate')).get(b'user-variables', b'')
        return push.pusher(ui, url, source, parsers.words(named))


@pytest.mark.parametrize('first', range(len(SOURCES)))
def test_the_sources_count_in_their_order(first: int) -> None:
    names = dict(SOURCES[first:])
    environ = {names[name]: name.encode() for name in names}
    if 'kallithea' in names:
        environ[b'KALLITHEA_EXTRAS'] = b'{"username": "kallithea"}'
    found = named(
        environ,
        HTTP,
        b'push',
        variables='MY_USER, HTTP_X_OTHER',
        rules={'user': 'mercurial-server'} if b'' in environ else None,
    )
    assert found == SOURCES[first][0]


@pytest.mark.parametrize('empty', [{}, dict.fromkeys(VARIABLES, b'')])
def test_the_account_counts_for_a_push_by_path_alone(
    empty: dict[bytes, bytes],
) -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    assert named(empty, b'file:/repository', b'push') == account
    assert named(empty, SSH) is None
    assert named(empty, HTTP) is None


def test_the_account_is_not_what_variables_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ('LOGNAME', 'USER', 'LNAME', 'USERNAME'):
        monkeypatch.setenv(name, 'mallory')
    account = pwd.getpwuid(os.getuid()).pw_name
    assert named({}, b'file:/repository', b'push') == account
    # and one without a name is no error
    monkeypatch.setattr(os, 'getuid', lambda: 4294967293)
    assert named({}, b'file:/repository', b'push') == '4294967293'


@pytest.mark.parametrize(
    ('value', 'name'),
    [
        (b'alice/laptop', 'alice/laptop'),
        ('alice/laptop', 'alice/laptop'),
        ('Zo\xeb \u20ac', 'Zo\xeb \u20ac'),
        ('zo\udcc3\udcab', 'zo\xeb'),  # as Python decodes arguments in C
        ('zo\udceb', 'zo\xeb'),
        (b'zo\xeb', 'zo\xeb'),
        ('', None),
        (b'', None),
        (None, None),
    ],
)
def test_the_key_names_the_pusher_with_mercurial_server(
    value: Any, name: str | None
) -> None:
    assert named({}, rules={'user': value}) == name


@pytest.mark.parametrize(
    ('extras', 'name'),
    [
        (b'{"username": "zo\\u00eb", "repository": "a"}', 'zo\xeb'),
        ('{"username": "zo\xeb"}'.encode(), 'zo\xeb'),
        (b'{"username": ""}', None),
        (b'{"username": null}', None),
        (b'{"username": 1}', None),
        (b'{"username": ["a"]}', None),
        (b'{"username": "\\ud800"}', None),
        (b'{"username": "\xff"}', None),
        (b'{"user": "a"}', None),
        (b'["username"]', None),
        (b'"username"', None),
        (b'{"username": "a"', None),
        (b'[' * 100_000, None),
        (b'', None),
    ],
)
@pytest.mark.parametrize('process', [True, False])
def test_kallithea_says_it_in_json(
    extras: bytes, name: str | None, process: bool
) -> None:
    variables = {b'KALLITHEA_EXTRAS': extras}
    if process:
        assert named({}, HTTP, process=variables) == name
    else:
        assert named(variables) == name


@pytest.mark.parametrize('variables', ['A B', 'A,B', ' A , B ', 'A\nB'])
def test_the_administrator_may_name_variables(variables: str) -> None:
    for url in (SSH, HTTP):
        assert named({b'B': b'b'}, url, variables=variables) == 'b'
        both = {b'B': b'b', b'A': b'a'}
        assert named(both, url, variables=variables) == 'a'
        assert named({b'C': b'c'}, url, variables=variables) is None


@pytest.mark.parametrize(
    'name',
    [
        'LANG',
        'LANGUAGE',
        'LC_ALL',
        'LC_USER',
        'TERM',
        'SSH_ORIGINAL_COMMAND',
        'SSH_CLIENT',
        'SSH_USER',
    ],
)
def test_what_an_ssh_client_may_set_never_counts(name: str) -> None:
    environ = {name.encode(): b'mallory'}
    assert named(environ) is None
    assert named(environ, variables=name) is None
    assert named({**environ, b'B': b'b'}, variables=f'{name} B') == 'b'


def test_the_variables_of_a_web_server_do_not_count_over_ssh() -> None:
    environ = {b'REMOTE_USER': b'mallory', b'HTTP_REMOTE_USER': b'mallory'}
    assert named(environ) is None
    assert named(environ, b'file:/repository', b'push') != 'mallory'
    assert named(environ, variables='REMOTE_USER') == 'mallory'


def test_the_variables_of_the_process_do_not_count_over_http() -> None:
    process = dict.fromkeys(VARIABLES, b'nobody')
    assert named({}, HTTP, process=process, variables='MY_USER') is None


@given(
    st.dictionaries(st.sampled_from(VARIABLES), st.binary(max_size=3000)),
    st.none() | st.text(max_size=3000) | st.binary(max_size=3000),
)
def test_whatever_the_variables_hold_is_a_bounded_name_or_none(
    environ: dict[bytes, bytes], user: Any
) -> None:
    if isinstance(user, str):
        user = user.encode('utf-8', 'surrogatepass').decode('utf-8', 'ignore')
    name = named(environ, HTTP, variables='MY_USER', rules={'user': user})
    if name is not None:
        name.encode()
        assert 0 < len(name) <= push.MAX_TEXT


def test_who_asks_is_whose_process_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('LOGNAME', 'somebody-else')
    monkeypatch.setenv('USER', 'somebody-else')
    assert cancel.who() == pwd.getpwuid(os.getuid()).pw_name
