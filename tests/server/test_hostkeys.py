"""How a host is got to know by its key, and from where it sees us."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import loopback
import paramiko
import pytest
import sshhome
from setups import FOLDER

from hgext_delegate.commands.setup import hostkeys
from hgext_delegate.ssh import addresses, knownhosts, session

RECORD = FOLDER / 'known_hosts'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sshhome.move(tmp_path, monkeypatch)
    monkeypatch.delenv('XDG_CONFIG_HOME', raising=False)
    (tmp_path / '.ssh').mkdir(0o700)
    return tmp_path


def meet(
    sshd: loopback.Sshd,
    host: str = '',
    port: int | None = None,
    accepted: str = '',
    yes: bool = True,
) -> tuple[str, list[str]]:
    """The key that is pinned for SSHD (or HOST), and what was asked for."""
    asked = []

    def ask(key: knownhosts.Key) -> bool:
        asked.append(key.text)
        return yes

    port = port if host else sshd.port
    there = session.find(host or sshd.address, port, None, str(sshd.identity))
    key = hostkeys.host_key(there, accepted, ask)
    return key.text, asked


def trouble(*args: Any, **how: Any) -> Any:
    """The error of meet(), which records nothing."""
    before = record()
    with pytest.raises(session.SessionError) as caught:
        meet(*args, **how)
    assert record() == before
    return caught.value


def record() -> str:
    path = Path.home() / RECORD
    return path.read_text('ascii') if path.exists() else ''


def configure(home: Path, text: str) -> None:
    (home / '.ssh/config').write_text(text, 'utf-8')


def know(home: Path, text: str) -> None:
    (home / '.ssh/known_hosts').write_text(text, 'ascii')


def test_a_stranger_is_asked_for_once(sshd: loopback.Sshd, home: Path) -> None:
    key = sshd.hostkey()
    error = trouble(sshd, yes=False)
    assert error.reason == (
        f'host key of 127.0.0.1 port {sshd.port} is not accepted'
    )
    assert meet(sshd) == (key, [key])
    assert meet(sshd) == (key, [])
    assert record() == f'{sshd.name} {key}\n'


def test_nobody_logs_in(sshd: loopback.Sshd, home: Path) -> None:
    log = sshd.folder / 'log'
    before = log.read_bytes() if log.exists() else b''
    sshd.settings = 'LogLevel DEBUG\n'
    meet(sshd)
    sshd.wait()
    said = log.read_bytes()[len(before) :]
    assert b'SSH2_MSG_NEWKEYS received' in said
    assert b'userauth-request' not in said


@pytest.mark.parametrize('type_', ['ed25519', 'ecdsa', 'rsa'])
def test_of_several_keys_that_which_is_known_is_pinned(
    sshd: loopback.Sshd, home: Path, type_: str
) -> None:
    key = sshd.hostkey(type_)
    know(home, f'{sshd.name} {key}\n')
    assert meet(sshd) == (key, [])
    assert record() == ''


@pytest.mark.parametrize('type_', ['ecdsa', 'rsa'])
def test_a_host_may_have_one_key_of_any_type(
    sshd: loopback.Sshd, home: Path, type_: str
) -> None:
    names = {'ecdsa': 'ecdsa-sha2-nistp256', 'rsa': 'rsa-sha2-256,rsa-sha2-512'}
    sshd.settings = f'HostKeyAlgorithms {names[type_]}\n'
    key = sshd.hostkey(type_)
    assert meet(sshd) == (key, [key])
    error = trouble(sshd, accepted='SHA256:other')
    assert error.remedy.count('SHA256:') == 1


def test_a_key_that_was_recorded_and_is_no_longer_shown_is_missed(
    sshd: loopback.Sshd, home: Path
) -> None:
    meet(sshd)
    sshd.settings = 'HostKeyAlgorithms ecdsa-sha2-nistp256\n'
    error = trouble(sshd)
    assert error.reason == f'host key of 127.0.0.1 port {sshd.port} has changed'
    assert f'{home / RECORD}:1 says ssh-ed25519 SHA256:' in error.remedy


def test_what_is_recorded_is_added_to_what_is_there(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(home, f'Host a b\n  HostName 127.0.0.1\n  Port {sshd.port}\n')
    meet(sshd)
    path = home / RECORD
    path.write_text(f'a damaged line\n[x]:1 {sshd.hostkey()}', 'ascii')
    key = sshd.hostkey()
    assert meet(sshd) == (key, [key])
    assert record() == (f'a damaged line\n[x]:1 {key}\n{sshd.name} {key}\n')
    assert meet(sshd, 'a') == (key, [])


def test_the_ssh_config_leads_to_the_host(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        f'Host blog\n  HostName 127.0.0.1\n  Port {sshd.port}\n'
        '  HostKeyAlias the-blog\n',
    )
    key = sshd.hostkey()
    assert meet(sshd, 'blog') == (key, [key])
    assert record() == f'the-blog {key}\n'
    assert meet(sshd, 'blog') == (key, [])


def test_a_name_that_would_stand_for_other_hosts_is_not_recorded(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        f'Host *\n  HostName 127.0.0.1\n  Port {sshd.port}\n  HostKeyAlias *\n',
    )
    error = trouble(sshd, 'blog')
    assert error.reason.endswith(' cannot be recorded')


def test_a_jump_host_is_logged_in_to_and_judged_as_ever(
    sshd: loopback.Sshd, home: Path
) -> None:
    at = f'  HostName 127.0.0.1\n  Port {sshd.port}\n'
    configure(
        home,
        f'Host jump\n{at}  HostKeyAlias jump\n  IdentityFile {sshd.identity}\n'
        f'Host final\n{at}  HostKeyAlias final\n  ProxyJump jump\n',
    )
    error = trouble(sshd, 'final')
    assert error.remedy == 'it said: Host key verification failed.'
    know(home, f'jump {sshd.hostkey()}\n')
    key = sshd.hostkey()
    assert meet(sshd, 'final') == (key, [key])
    assert record() == f'final {key}\n'


def test_a_host_that_only_repeats_the_key_of_another_is_refused(
    sshd: loopback.Sshd, home: Path
) -> None:
    class Thief(paramiko.Ed25519Key):
        """Shows the host's public key, and signs with its own."""

        def asbytes(self) -> bytes:
            return stolen

    loopback.keygen(home / 'host_ed25519')
    stolen = paramiko.Ed25519Key(
        filename=str(sshd.folder / 'host_ed25519')
    ).asbytes()
    hostile = loopback.Hostile(home, lambda transport, channel: None)
    hostile._key = Thief(filename=str(home / 'host_ed25519'))
    try:
        know(home, f'[127.0.0.1]:{hostile.port} {sshd.hostkey()}\n')
        error = trouble(sshd, '127.0.0.1', hostile.port)
    finally:
        hostile.close()
    assert 'broke the SSH protocol' in error.reason


def test_a_host_that_says_nothing_is_given_up(
    sshd: loopback.Sshd, home: Path
) -> None:
    with loopback.bare(lambda connection: None) as port:
        there = session.find('127.0.0.1', port, None)
        policy = hostkeys.AnyKey(there, (), [])
        with pytest.raises(session.SessionError) as caught:
            session.exchange_keys(policy, 0.3)
    assert caught.value.reason.startswith('timed out after 0.3 s while waiting')


@pytest.mark.parametrize('address', ['127.0.0.1', '127.0.1.1', '::1'])
def test_the_way_here_is_that_which_the_host_sees(address: str) -> None:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection((address, port)):
            connection, peer = listener.accept()
            connection.close()
    ways = addresses.ways(session.find(address, port, None))
    assert [(way.here, way.there) for way in ways] == [(peer[0], address)]
    assert addresses.is_this_machine(ways)
    assert addresses.sources(ways) == ['127.0.0.1', '::1']


def test_sources_are_the_addresses_here_in_each_family() -> None:
    way = addresses.Way
    far = [way('192.0.2.2', '198.51.100.7'), way('2001:db8::2', '2001:db8::7')]
    assert addresses.sources(far) == ['192.0.2.2', '2001:db8::2']
    assert addresses.sources([*far, *far]) == ['192.0.2.2', '2001:db8::2']
    assert not addresses.is_this_machine(far)
    here = [way('127.0.0.1', '127.0.1.1'), way('2001:db8::2', '2001:db8::2')]
    assert addresses.sources(here) == ['127.0.0.1', '::1', '2001:db8::2']
    assert addresses.is_this_machine(here)
    assert not addresses.is_this_machine([*here, *far])
    assert not addresses.is_this_machine([])
    # sshd of OpenSSH 9.2 matches this, and not without the %*.
    link = [way('fe80::1', 'fe80::2')]
    assert addresses.sources(link) == ['fe80::1%*']
