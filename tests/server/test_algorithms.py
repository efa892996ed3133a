"""Servers with few algorithms: what is offered, what is said, what helps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import loopback
import pytest
import sessions
import sshhome

from hgext_delegate.ssh import algorithms, config, library, session

CTR = '\nCiphers aes128-ctr'
# What only an old server needs -> the algorithm
WEAK = {
    'Ciphers aes128-cbc': 'aes128-cbc',
    'Ciphers 3des-cbc': '3des-cbc',
    'MACs hmac-sha1' + CTR: 'hmac-sha1',
    'MACs hmac-md5-96' + CTR: 'hmac-md5-96',
    'KexAlgorithms diffie-hellman-group14-sha1': 'diffie-hellman-group14-sha1',
    'KexAlgorithms diffie-hellman-group1-sha1': 'diffie-hellman-group1-sha1',
    'HostKeyAlgorithms ssh-rsa': 'ssh-rsa',
}
# What paramiko has not.
FOREIGN = {
    'Ciphers chacha20-poly1305@openssh.com': 'chacha20-poly1305@openssh.com',
    'MACs umac-128@openssh.com' + CTR: 'umac-128@openssh.com',
    'KexAlgorithms sntrup761x25519-sha512@openssh.com':
        'sntrup761x25519-sha512@openssh.com',
}  # fmt: skip
KINDS = {
    'KexAlgorithms': 'key exchange',
    'HostKeyAlgorithms': 'host key',
    'Ciphers': 'cipher',
    'MACs': 'MAC',
}


@pytest.fixture
def known(sshd: loopback.Sshd, home: Path) -> loopback.Sshd:
    """An sshd of which all keys are known."""
    lines = [f'{sshd.name} {sshd.hostkey(t)}\n' for t in ('ed25519', 'rsa')]
    (home / '.ssh' / 'known_hosts').write_text(''.join(lines), 'ascii')
    return sshd


def attempt(sshd: loopback.Sshd, home: Path, line: str = '') -> int | None:
    """A login by the ssh_config that LINE is added to."""
    sshhome.configure(home, sshhome.alias(sshd) + f'  {line}\n')
    return sshhome.status('alias')


def failure(sshd: loopback.Sshd, home: Path, line: str = '') -> Any:
    # not tried again: it is nothing that passes
    with pytest.raises(session.ConfigurationError) as caught:
        attempt(sshd, home, line)
    return sessions.printable(caught.value)


def has(name: str) -> bool:
    transport = library.paramiko.transport.Transport
    tables = ('kex', 'cipher', 'mac', 'key')
    return any(name in getattr(transport, f'_{t}_info') for t in tables)


@pytest.mark.parametrize('setting', WEAK | FOREIGN)
def test_both_lists_are_said_and_what_helps_if_paramiko_has_it(
    known: loopback.Sshd, home: Path, setting: str
) -> None:
    known.settings = setting + '\n'
    keyword = setting.partition(' ')[0]
    name = (WEAK | FOREIGN)[setting]
    error = failure(known, home)
    where = f'{known.address} port {known.port}'
    assert error.reason == (
        f'no algorithm in common with {where}: {KINDS[keyword]}'
    )
    lists = re.search('it has (.*); allowed here: (.*)', error.remedy)
    assert lists
    theirs, ours = lists.groups()
    assert theirs.split(', ')[0] == name
    assert algorithms._KINDS[keyword].present[-1] in ours
    advice = re.match(r"'(\w+ [+^]\S+)' in the ssh config", error.remedy)
    assert bool(advice) == has(name)
    if advice:
        assert attempt(known, home, advice[1]) == 0


@pytest.mark.parametrize('setting', WEAK)
def test_an_old_server_is_allowed_as_it_is_for_ssh(
    known: loopback.Sshd, home: Path, setting: str
) -> None:
    keyword, name = setting.partition(' ')[0], WEAK[setting]
    if not has(name):
        pytest.skip('paramiko has it no more')
    known.settings = setting + '\n'
    # alone, after the usual ones, before them
    for sign in ('', '^') if name == 'hmac-sha1' else ('', '+', '^'):
        line = f'{keyword} {sign}{name}'
        assert attempt(known, home, line) == 0
    # what is allowed is not what is preferred
    known.settings = ''
    assert attempt(known, home, f'{keyword} ^{name}') == 0
    with session.open('alias') as opened:
        assert name not in opened.agreed().algorithms


def test_what_is_left_out_is_named_as_what_helps(
    known: loopback.Sshd, home: Path
) -> None:
    known.settings = 'Ciphers aes256-ctr\n'
    error = failure(known, home, 'Ciphers aes128-ctr')
    assert error.remedy == (
        "'Ciphers ^aes256-ctr' in the ssh config allows it; it has "
        'aes256-ctr; allowed here: aes128-ctr'
    )
    assert attempt(known, home, 'Ciphers ^aes256-ctr') == 0


@pytest.mark.parametrize('there', ['', '@libssh.org'])
@pytest.mark.parametrize('here', ['', '@libssh.org'])
def test_an_algorithm_counts_by_each_of_its_names(
    known: loopback.Sshd, home: Path, here: str, there: str
) -> None:
    known.settings = f'KexAlgorithms curve25519-sha256{there}\n'
    assert attempt(known, home, f'KexAlgorithms curve25519-sha256{here}') == 0


def test_nothing_weak_is_added_by_what_the_lists_are_without_us(
    known: loopback.Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nor is ssh asked a second time
    monkeypatch.setattr(config, 'usual', None)
    sshhome.configure(home, sshhome.alias(known))
    for kind in algorithms.offered(session.find('alias', None, None)).values():
        for weak in ('cbc', 'sha1', 'md5', 'ssh-rsa', 'dss', 'cert'):
            assert weak not in ' '.join(kind)


def test_what_the_other_side_calls_its_algorithms_is_not_shown() -> None:
    theirs = [['x\x1b[2J', 'y' * 65, 'z'] + ['more'] * 100] + [['a']] * 5
    error = algorithms.explain('h', [['ours']] + [['a']] * 5, theirs)
    assert error
    assert re.match('it has z(, more){19}; allowed here: ours', error.remedy)
    assert algorithms.explain('h', [['a']] * 6, [['a']] * 6) is None
