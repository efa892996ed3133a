"""Targets are read from [delegate], and every mistake is worded there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from mercurial import ui as uimod

from hgext_delegate.config import parsers, targets as targetsmod

Read = Callable[
    [str], 'tuple[list[targetsmod.Target], list[targetsmod.ConfigError]]'
]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_hgrc(text: str):
        hgrc = tmp_path / 'hgrc'
        hgrc.write_bytes(b'[delegate]\n' + text.encode('utf-8', 'replace'))
        ui = uimod.ui()
        ui.readconfig(bytes(hgrc))
        return targetsmod.read(ui)

    return read_hgrc


def test_one_line_is_a_whole_target(read: Read) -> None:
    targets, mistakes = read('blog = ssh://hg-blog@localhost\n')
    assert not mistakes
    (blog,) = targets
    assert (blog.name, blog.host, blog.port) == ('blog', 'localhost', None)
    assert blog.user == 'hg-blog'
    assert blog.when is None
    assert blog.trigger == ('changegroup',)
    assert (blog.connect_timeout, blog.idle_timeout) == (15, 600)
    assert (blog.timeout, blog.wait, blog.color) == (3600, True, True)
    assert (blog.output_limit, blog.receiver) == (10 * 1024 * 1024, False)
    assert blog.retries == 3
    assert blog.url == 'ssh://hg-blog@localhost'


@pytest.mark.parametrize(
    ('url', 'host', 'port', 'user'),
    [
        ('ssh://host', 'host', None, None),
        ('ssh://host/', 'host', None, None),
        ('ssh://me@host:2222', 'host', 2222, 'me'),
        ('ssh://me@[::1]:22', '::1', 22, 'me'),
        ('ssh://[fe80::1%25eth0]', 'fe80::1%eth0', None, None),
        ('ssh://alias_1', 'alias_1', None, None),
    ],
)
def test_a_url_names_user_host_and_port(
    read: Read, url: str, host: str, port: int | None, user: str | None
) -> None:
    targets, mistakes = read(f'a = {url}\n')
    assert not mistakes
    assert (targets[0].host, targets[0].port, targets[0].user) == (
        host,
        port,
        user,
    )


@pytest.mark.parametrize(
    'url',
    [
        'hg-blog@localhost',
        'http://host',
        'ssh://',
        'ssh://host/path',
        'ssh://host?query',
        'ssh://host#fragment',
        'ssh://host:0',
        'ssh://host:65536',
        'ssh://host:ssh',
        'ssh://-oProxyCommand=x@host',
        'ssh://me@-host',
        'ssh://me@ho st',
        'ssh://me@host%0aname',
        "ssh://me@host'",
        'ssh://me@$(id)',
        'ssh://999.1.1.1',
        'ssh://10.0.0.0.1',
        'ssh://10.0.0.',
        'ssh://[fe80::1::2]',
        'ssh://[12345::1]:22',
        'ssh://me@[::g]',
    ],
)
def test_what_is_no_user_and_host_is_refused(read: Read, url: str) -> None:
    targets, mistakes = read(f'a = {url}\nb = ssh://host\n')
    assert [t.name for t in targets] == ['b']
    (mistake,) = mistakes
    assert mistake.item == b'a'
    assert mistake.source.endswith(b'hgrc:2')
    assert b'ssh://user@host' in mistake.remedy


def test_a_password_is_refused_and_not_repeated(read: Read) -> None:
    targets, (mistake,) = read('a = ssh://me:hunter2@host\n')
    assert not targets
    assert b'password' in mistake.problem
    assert b'hunter2' not in mistake.problem + mistake.remedy + mistake.item


def test_options_are_read_with_their_units(read: Read) -> None:
    (blog,), mistakes = read(
        'blog = ssh://h\n'
        'blog:connect-timeout = 2.5\n'
        'blog:idle-timeout = 10m\n'
        'blog:timeout = 2 h\n'
        'blog:output-limit = 2 kB\n'
        'blog:wait = no\n'
        'blog:retries = 0\n'
        'blog:when = branch(default)\n'
        'blog:command = deploy it now\n'
        'blog:identity = ~/key\n'
        'blog:knownhosts = /a /b\n'
        'blog:hostkey = ssh-ed25519 AAAA comment, ssh-rsa BBBB==\n'
    )
    assert not mistakes
    assert (blog.connect_timeout, blog.idle_timeout) == (2.5, 600)
    assert (blog.timeout, blog.output_limit) == (7200, 2048)
    assert (blog.wait, blog.retries) == (False, 0)
    assert blog.when == b'branch(default)'
    assert blog.command == 'deploy it now'
    assert blog.identity == str(Path('~/key').expanduser())
    assert blog.knownhosts == ('/a', '/b')
    assert blog.hostkey == ('ssh-ed25519 AAAA', 'ssh-rsa BBBB==')


def test_root_is_no_deploy_account_unless_that_is_said(read: Read) -> None:
    targets, (mistake,) = read('blog = ssh://root@h\n')
    assert not targets
    assert b'as root could do anything' in mistake.problem
    assert b"'blog:allow-root = yes'" in mistake.remedy
    (blog,), mistakes = read('blog = ssh://root@h\nblog:allow-root = yes\n')
    assert (blog.user, mistakes) == ('root', [])


def test_a_star_sets_the_default_and_a_name_overrides_it(read: Read) -> None:
    targets, mistakes = read(
        '*:retries = 7\n*:wait = no\na = ssh://h\na:retries = 1\nb = ssh://h\n'
    )
    assert not mistakes
    a, b = targets
    assert (a.retries, a.wait) == (1, False)
    assert (b.retries, b.wait) == (7, False)


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('a:timeout = soon', b"'soon' is not a duration"),
        ('a:timeout = 0', b"'0' is not a duration"),
        ('a:timeout = -5', b"'-5' is not a duration"),
        ('a:timeout = 5d', b"'5d' is not a duration"),
        ('a:output-limit = much', b"'much' is not a size"),
        ('a:output-limit = -1', b"'-1' is not a size"),
        ('a:wait = maybe', b"'maybe' is neither yes nor no"),
        ('a:retries = many', b"'many' is not a number"),
        ('a:identity = key', b"'key' is not an absolute path"),
        ('a:trigger = tags', b"'tags' is not a list of triggers"),
        ('a:mask = (', b"'(' is not a regular expression for a secret"),
        ('a:mask = x*', b"'x*' is not a regular expression for a secret"),
        ('a:hostkey = AAAA', b'not a host key'),
        ('a:hostkey = rsa-sha2-512 AAAA', b"'rsa-sha2-512' is not a type of"),
        ('a:hostkey = ed25519 AAAA', b"'ed25519' is not a type of host key"),
        ('a:hostkey = ssh-dss AAAA', b"'ssh-dss' is not a type of host key"),
    ],
)
def test_a_bad_value_names_itself_and_stops_its_target_only(
    read: Read, line: str, said: bytes
) -> None:
    targets, mistakes = read(f'a = ssh://h\n{line}\nb = ssh://h\n')
    assert [t.name for t in targets] == ['b']
    (mistake,) = mistakes
    assert said in mistake.problem
    assert mistake.remedy
    assert mistake.item == line.split(' =')[0].encode()
    assert mistake.source.endswith(b'hgrc:3')


@pytest.mark.parametrize(
    ('line', 'item', 'remedy'),
    [
        ('a:idle-timout = 5', b'a:idle-timout', b'did you mean idle-timeout?'),
        ('a:wehn = all()', b'a:wehn', b'did you mean when?'),
        ('blgo:when = all()', b'blgo:when', b'did you mean blog?'),
    ],
)
def test_an_unknown_name_leads_to_the_nearest_known_one(
    read: Read, line: str, item: bytes, remedy: bytes
) -> None:
    _targets, mistakes = read(f'blog = ssh://h\na = ssh://h\n{line}\n')
    (mistake,) = mistakes
    assert mistake.item == item
    assert mistake.remedy == remedy


def test_a_mistake_in_a_default_stops_all_targets(read: Read) -> None:
    targets, mistakes = read('*:timeout = x\na = ssh://h\nb = ssh://h\n')
    assert not targets
    (mistake,) = mistakes
    assert mistake.item == b'*:timeout'


def test_a_name_is_checked(read: Read) -> None:
    targets, mistakes = read(
        '../x = ssh://h\n.x = ssh://h\nx.y-z_1 = ssh://h\n'
    )
    assert [t.name for t in targets] == ['x.y-z_1']
    assert sorted(m.item for m in mistakes) == [b'../x', b'.x']


def test_an_empty_value_takes_a_target_away(read: Read) -> None:
    assert read('a = ssh://h\na:retries = 1\na =\n') == ([], [])


def test_an_untrusted_file_counts_for_nothing(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uimod.ui, '_trusted', lambda self, fp, f: False)
    assert read('a = ssh://h\na:x = 1\n') == ([], [])


def test_durations_are_bounded_and_more_than_nothing() -> None:
    wanted = {'90': 90, '15s': 15, '10m': 600, '1h': 3600, '0.5 h': 1800}
    for text, seconds in wanted.items():
        assert parsers.duration(text.encode()) == seconds
    wrong = ('', '0', '-1', '1d', '1h30m', 'inf', '1e9', '9' * 10, '999999h')
    for text in wrong:
        with pytest.raises(parsers.InvalidValue):
            parsers.duration(text.encode())


def test_what_is_no_number_to_keep_is_the_default() -> None:
    for value in (None, b'', b'ten', b'-1', b'9' * 20, b'9' * 5000):
        assert parsers.keep(value) == 100
    assert parsers.keep(b'7') == 7
    assert parsers.keep(b'0') == 1


def test_settings_are_no_targets(read: Read) -> None:
    assert read('keep = 5\nuser-variables = A B\n') == ([], [])


# Near what is right, and anything that Mercurial's own reader lets through.
OPTIONS = st.sampled_from(sorted(targetsmod.OPTIONS))
ITEMS = st.one_of(
    st.sampled_from([b'a', b'b', b'keep', b'user-variables', b'allow-targets']),
    OPTIONS.map(lambda name: b'a:' + name),
    OPTIONS.map(lambda name: b'*:' + name),
    st.binary(max_size=20),
)
VALUES = st.one_of(
    st.text('ssh://@[]:%#?0123456789eE+-.abhmskMG ', max_size=30).map(
        str.encode
    ),
    st.binary(max_size=40),
)


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(ITEMS, VALUES, max_size=6))
def test_any_configuration_is_a_target_or_a_mistake_that_is_named(
    items: dict[bytes, bytes],
) -> None:
    ui = uimod.ui()
    for item, value in items.items():
        ui.setconfig(b'delegate', item, value)
    targets, mistakes = targetsmod.read(ui)
    served = {served.name.encode() for served in targets}
    wrong = {mistake.item.partition(b':')[0] for mistake in mistakes}
    for name in targetsmod.names(ui):
        assert name in served or {name, b'*'} & wrong
    assert all(mistake.problem for mistake in mistakes)
