"""Where a session leads, and with which key: ssh_config, jumps, addresses."""

from __future__ import annotations

import os
import pwd
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loopback
import pytest

from hgext_delegate import session


@pytest.fixture(scope='module')
def server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[loopback.Sshd]:
    server = loopback.Sshd(tmp_path_factory.mktemp('sshd'))
    yield server
    server.close()


@pytest.fixture
def sshd(server: loopback.Sshd) -> Iterator[loopback.Sshd]:
    """Nothing may be left of a session, whatever became of it."""
    children = loopback.children()
    threads, open_ = threading.active_count(), loopback.descriptors()
    yield server
    server.settle()
    assert threading.active_count() == threads
    assert loopback.descriptors() == open_
    assert loopback.children() == children


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / '.ssh').mkdir(0o700)
    return tmp_path


def configure(home: Path, text: str) -> None:
    (home / '.ssh' / 'config').write_text(text, 'utf-8')


def status(host: str, **how: Any) -> int | None:
    with session.open(host, **how) as opened:
        return opened.execute(
            'true',
            b'',
            lambda stream, data: None,
            lambda: None,
            idle_timeout=60,
            timeout=60,
        ).status


def failure(host: str, **how: Any) -> Any:
    with pytest.raises(session.SessionError) as caught:
        status(host, **how)
    assert not caught.value.started
    assert str(Path.home()) not in caught.value.reason + caught.value.remedy
    return caught.value


def alias(sshd: loopback.Sshd, name: str = 'alias') -> str:
    return (
        f'Host {name}\n'
        f'  HostName {sshd.address}\n'
        f'  Port {sshd.port}\n'
        f'  IdentityFile {sshd.identity}\n'
    )


def know(home: Path, sshd: loopback.Sshd) -> None:
    line = f'{sshd.name} {sshd.hostkey()}\n'
    (home / '.ssh' / 'known_hosts').write_text(line, 'ascii')


def test_an_alias_leads_where_the_ssh_config_says(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(home, alias(sshd))
    know(home, sshd)
    assert status('alias') == 0


def test_what_is_asked_for_wins_over_the_ssh_config(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        f'Host alias\n  HostName {sshd.address}\n  Port 1\n  User nobody\n'
        f'  IdentityFile {home}/none\n  UserKnownHostsFile {home}/none\n',
    )
    user = pwd.getpwuid(os.getuid()).pw_name
    assert (
        status(
            'alias',
            port=sshd.port,
            user=user,
            identity=str(sshd.identity),
            hostkeys=[sshd.hostkey()],
        )
        == 0
    )


def test_the_user_is_that_of_the_ssh_config(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(home, alias(sshd) + '  User some-body\n')
    know(home, sshd)
    error = failure('alias')
    assert error.reason == f'{sshd.address} refused the key as some-body'


def test_known_hosts_files_of_the_ssh_config_count_instead_of_the_default(
    sshd: loopback.Sshd, home: Path
) -> None:
    know(home, sshd)
    (home / 'empty').touch()
    configure(home, alias(sshd) + '  UserKnownHostsFile ~/empty ~/none\n')
    assert failure('alias').reason.endswith('is not known')
    (home / '.ssh' / 'known_hosts').rename(home / 'moved')
    configure(home, alias(sshd) + '  UserKnownHostsFile ~/empty ~/moved\n')
    assert status('alias') == 0


def test_the_host_key_is_looked_up_by_its_alias(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(home, alias(sshd) + '  HostKeyAlias some-name\n')
    know(home, sshd)
    assert failure('alias').reason.endswith('is not known as some-name')
    known = home / '.ssh' / 'known_hosts'
    known.write_text(f'[some-name]:{sshd.port} {sshd.hostkey()}\n', 'ascii')
    assert failure('alias').reason.endswith('is not known as some-name')
    known.write_text(f'some-name {sshd.hostkey()}\n', 'ascii')
    assert status('alias') == 0


def test_the_second_default_file_of_known_hosts_counts_too(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(home, alias(sshd))
    know(home, sshd)
    (home / '.ssh' / 'known_hosts').rename(home / '.ssh' / 'known_hosts2')
    assert status('alias') == 0


def test_of_several_keys_the_one_that_is_accepted_is_used(
    sshd: loopback.Sshd, home: Path
) -> None:
    other = loopback.keygen(home / 'other')
    configure(
        home,
        f'Host alias\n  IdentityFile {home}/none\n  IdentityFile {other}\n'
        + alias(sshd),
    )
    know(home, sshd)
    assert status('alias') == 0


def test_the_default_keys_are_those_of_openssh(
    sshd: loopback.Sshd, home: Path
) -> None:
    def attempt() -> int | None:
        return status(sshd.address, port=sshd.port, hostkeys=[sshd.hostkey()])

    loopback.keygen(home / '.ssh' / 'id_ecdsa', 'ecdsa')
    with pytest.raises(session.SessionError, match='refused the key'):
        attempt()
    (home / '.ssh' / 'id_ed25519').write_bytes(sshd.identity.read_bytes())
    (home / '.ssh' / 'id_ed25519').chmod(0o600)
    assert attempt() == 0


def test_no_key_at_all_is_said_before_connecting(home: Path) -> None:
    error = failure('127.0.0.1', port=1)
    assert error.reason == (
        'there is no key to log in to 127.0.0.1 port 1 with'
    )


def test_an_identity_that_was_asked_for_is_the_only_one_tried(
    sshd: loopback.Sshd, home: Path
) -> None:
    other = loopback.keygen(home / 'other')
    configure(home, alias(sshd))
    know(home, sshd)
    assert 'refused the key' in failure('alias', identity=str(other)).reason


def key_trouble(path: Path) -> Any:
    """What is said of a key, for which nobody may be connected to."""
    error = failure('127.0.0.1', port=1, identity=str(path))
    assert error.reason.startswith(f'identity file {path.name} ')
    assert str(path) in error.detail
    return error


def test_a_key_file_that_does_not_exist_is_refused(home: Path) -> None:
    error = key_trouble(home / 'none')
    assert error.reason == 'identity file none does not exist'


@pytest.mark.parametrize('mode', [0o604, 0o602, 0o640, 0o660, 0o601])
def test_a_key_file_that_others_may_use_is_refused(
    home: Path, mode: int
) -> None:
    path = loopback.keygen(home / 'key')
    path.chmod(mode)
    error = key_trouble(path)
    assert error.reason == (
        f'identity file key can be used by others (mode {mode:04o})'
    )
    assert error.remedy == 'chmod 600 key'


def test_a_key_file_that_cannot_be_read_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A mode of 0 would not keep root from reading.
    path = loopback.keygen(home / 'key')
    real = os.open

    def denied(name: Any, *rest: Any, **keywords: Any) -> int:
        if name == str(path):
            raise PermissionError(13, 'Permission denied')
        return real(name, *rest, **keywords)

    monkeypatch.setattr(os, 'open', denied)
    error = key_trouble(path)
    assert error.reason == (
        'identity file key cannot be read: Permission denied'
    )


def test_a_folder_or_pipe_is_no_key_file(home: Path) -> None:
    (home / 'folder').mkdir()
    os.mkfifo(home / 'pipe', 0o600)
    assert 'cannot be read' in key_trouble(home / 'folder').reason
    assert 'not a regular file' in key_trouble(home / 'pipe').reason


@pytest.mark.parametrize(
    ('type_', 'options'),
    [
        ('ed25519', ()),
        ('rsa', ('-m', 'PEM')),
        ('rsa', ('-m', 'PKCS8')),
        ('ecdsa', ('-m', 'PEM')),
    ],
)
def test_an_encrypted_key_is_refused(
    home: Path, type_: str, options: tuple[str, ...]
) -> None:
    path = loopback.keygen(home / 'key', type_, '-N', 'secret', *options)
    error = key_trouble(path)
    assert error.reason.startswith('identity file key is encrypted')
    assert 'ssh-keygen' in error.remedy


@pytest.mark.parametrize('content', ['', 'nonsense\n', 'public'])
def test_what_is_no_private_key_is_refused(home: Path, content: str) -> None:
    path = loopback.keygen(home / 'key')
    if content == 'public':
        content = Path(f'{path}.pub').read_text('ascii')
    path.write_text(content, 'ascii')
    error = key_trouble(path)
    assert error.reason == ('identity file key is damaged, or no private key')


@pytest.mark.parametrize('type_', ['rsa', 'ecdsa', 'ed25519'])
def test_a_key_that_is_damaged_anywhere_is_refused(
    home: Path, type_: str
) -> None:
    path = loopback.keygen(home / 'key', type_)
    lines = path.read_text('ascii').splitlines(keepends=True)
    for size in range(len(lines) - 2):
        path.write_text(''.join([*lines[: 1 + size], lines[-1]]), 'ascii')
        error = key_trouble(path)
        assert 'damaged' in error.reason or 'no usable key' in error.reason


def test_a_key_of_an_unusable_type_is_refused(home: Path) -> None:
    path = loopback.keygen(home / 'key', 'rsa', '-m', 'PKCS8')
    error = key_trouble(path)
    assert error.reason == (
        'identity file key holds no usable key (its type is PKCS#8)'
    )


@pytest.mark.parametrize('text', ['nonsense\n', 'Port x\n', 'Port 0\n'])
def test_a_damaged_ssh_config_is_named(home: Path, text: str) -> None:
    configure(home, text)
    error = failure('127.0.0.1')
    assert error.reason == 'ssh config file config is damaged'
    assert str(home / '.ssh' / 'config') in error.detail


def test_an_ssh_config_that_others_may_write_is_refused(home: Path) -> None:
    configure(home, '')
    (home / '.ssh' / 'config').chmod(0o664)
    error = failure('127.0.0.1')
    assert error.reason == 'ssh config file config may be written by others'


def test_an_ssh_config_in_latin_1_is_read(
    sshd: loopback.Sshd, home: Path
) -> None:
    text = '# \xe9\xff\n' + alias(sshd)
    (home / '.ssh' / 'config').write_bytes(text.encode('latin-1'))
    know(home, sshd)
    assert status('alias') == 0


def test_a_match_with_a_program_runs_it(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        f'Match originalhost alias exec "test -e {home}/there"\n'
        f'  HostName {sshd.address}\n  IdentityFile {sshd.identity}\n'
        f'  Port {sshd.port}\nHost alias\n  HostName 127.0.0.1\n  Port 1\n'
        f'  IdentityFile {sshd.identity}\n',
    )
    know(home, sshd)
    assert failure('alias').reason == 'connection refused by 127.0.0.1 port 1'
    (home / 'there').touch()
    assert status('alias') == 0


def test_known_hosts_files_that_were_asked_for_must_be_there(
    sshd: loopback.Sshd, home: Path
) -> None:
    error = failure(
        sshd.address,
        port=sshd.port,
        identity=str(sshd.identity),
        knownhosts=[str(home / 'none')],
    )
    assert error.reason.startswith('known_hosts file none cannot be read')


def test_a_proxy_command_is_the_way(sshd: loopback.Sshd, home: Path) -> None:
    configure(home, alias(sshd) + f'  ProxyCommand {proxy(home)} %h %p\n')
    know(home, sshd)
    assert status('alias') == 0
    # The port that is asked for is the one it gets.
    configure(
        home,
        f'Host alias\n  HostName {sshd.address}\n'
        f'  IdentityFile {sshd.identity}\n'
        f'  ProxyCommand {proxy(home)} %h %p\n',
    )
    assert status('alias', port=sshd.port) == 0


def proxy(home: Path) -> Path:
    path = home / 'proxy'
    path.write_text(loopback.PROXY, 'ascii')
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(
    'command', ['false', 'echo nonsense >&2', 'no-such-command-anywhere']
)
def test_a_proxy_command_that_fails_is_told(
    sshd: loopback.Sshd,
    home: Path,
    command: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(home, alias(sshd) + f'  ProxyCommand {command}\n')
    know(home, sshd)
    error = failure('alias')
    assert error.reason.startswith('connection closed while')
    assert capfd.readouterr().err == ''


def test_a_proxy_command_that_ignores_everything_is_ended(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        alias(sshd)
        + "  ProxyCommand sh -c 'trap : TERM HUP; sleep 60; sleep 60'\n",
    )
    know(home, sshd)
    error = failure('alias', connect_timeout=1)
    assert error.reason.startswith('timed out after 1 s while waiting')


def test_a_jump_host_is_passed_through(sshd: loopback.Sshd, home: Path) -> None:
    configure(
        home,
        alias(sshd, 'jump') + alias(sshd, 'final') + '  ProxyJump jump\n',
    )
    know(home, sshd)
    assert status('final') == 0
    assert b'direct-tcpip' in debug(sshd, 'final')


def debug(sshd: loopback.Sshd, host: str) -> bytes:
    """What sshd logs of a session."""
    sshd.settings = 'LogLevel DEBUG\n'
    log = sshd.folder / 'log'
    before = log.stat().st_size
    status(host)
    return log.read_bytes()[before:]


def test_jump_hosts_are_passed_through_one_after_the_other(
    sshd: loopback.Sshd, home: Path
) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    second = f'ssh://{user}@{sshd.address}:{sshd.port}'
    configure(
        home,
        alias(sshd, 'one')
        + '  ProxyJump none\n'
        + alias(sshd, 'final')
        + f'  ProxyJump one,{second}\n'
        + f'Host *\n  IdentityFile {sshd.identity}\n',
    )
    know(home, sshd)
    assert debug(sshd, 'final').count(b'Accepted publickey') == 3


def test_the_host_key_of_a_jump_host_is_judged_as_well(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        alias(sshd, 'jump') + alias(sshd, 'final') + '  ProxyJump jump\n',
    )
    # The pinned key is the last host's alone.
    error = failure('final', hostkeys=[sshd.hostkey()])
    assert error.reason.endswith('is not known')


def test_a_jump_host_that_may_not_connect_is_told(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        alias(sshd, 'jump') + alias(sshd, 'final') + '  ProxyJump jump\n',
    )
    know(home, sshd)
    sshd.settings = 'AllowTcpForwarding no\n'
    error = failure('final')
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'the jump host does not connect to {where}'


def test_jump_hosts_that_lead_in_circles_are_refused(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(home, alias(sshd) + '  ProxyJump alias\n')
    know(home, sshd)
    assert failure('alias').reason == 'more than 8 jump hosts'


def test_a_damaged_jump_is_named(sshd: loopback.Sshd, home: Path) -> None:
    configure(home, alias(sshd) + '  ProxyJump a:b:c\n')
    assert 'ProxyJump' in failure('alias').reason


def test_of_jump_and_command_the_first_counts(
    sshd: loopback.Sshd, home: Path
) -> None:
    configure(
        home,
        alias(sshd)
        + f'  ProxyCommand {proxy(home)} %h %p\n'
        + '  ProxyJump no-such-host\n',
    )
    know(home, sshd)
    assert status('alias') == 0


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def key(home: Path) -> str:
    return str(loopback.keygen(home / 'key'))


def test_a_refused_connection_is_told(key: str) -> None:
    port = closed_port()
    error = failure('127.0.0.1', port=port, identity=key)
    assert error.reason == f'connection refused by 127.0.0.1 port {port}'
    assert 'sshd' in error.remedy


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'x' * 300])
def test_a_name_that_means_nothing_is_told(key: str, host: str) -> None:
    error = failure(host, identity=key)
    assert error.reason == f'the name {host} cannot be resolved'


def test_a_name_that_is_not_resolved_in_time_is_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(
        socket, 'getaddrinfo', lambda *args, **kw: answered.wait(60) and []
    )
    error = failure('somewhere', identity=key, connect_timeout=0.5)
    answered.set()
    assert error.reason == (
        'timed out after 0.5 s while connecting to somewhere port 22'
    )


def test_a_host_that_does_not_answer_is_told(key: str) -> None:
    with loopback.black_hole() as port:
        error = failure('127.0.0.1', port=port, identity=key, connect_timeout=1)
    assert error.reason == (
        f'timed out after 1 s while connecting to 127.0.0.1 port {port}'
    )


def resolve_to(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]
) -> None:
    answer = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, '', address)
        for address in addresses
    ]
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args, **kw: answer)


def test_an_address_that_swallows_everything_does_not_hide_the_next(
    sshd: loopback.Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback.black_hole() as port:
        resolve_to(
            monkeypatch,
            ('127.0.0.1', port),
            ('127.0.0.1', closed_port()),
            ('127.0.0.1', sshd.port),
        )
        code = status(
            'somewhere',
            port=sshd.port,
            identity=str(sshd.identity),
            hostkeys=[sshd.hostkey()],
            connect_timeout=6,
        )
    assert code == 0


def test_of_several_errors_the_refusal_is_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(
        monkeypatch, ('127.0.0.1', closed_port()), ('255.255.255.255', 1)
    )
    error = failure('somewhere', identity=key)
    assert error.reason == 'connection refused by somewhere port 22'


def test_a_missing_route_is_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: Any) -> None:
        raise OSError(113, 'No route to host')

    resolve_to(monkeypatch, ('127.0.0.1', 1))
    monkeypatch.setattr(socket.socket, 'connect', unreachable)
    error = failure('somewhere', identity=key)
    assert error.reason == 'no route to somewhere port 22'
