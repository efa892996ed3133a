"""What hg delegate-check says of keys, server and boundary."""

from __future__ import annotations

import dataclasses
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loopback
import pytest
import servers
import sshhome
from mercurial import dispatch, ui as uimod  # noqa: F401 - 7.2 needs it first

from hgext_delegate.commands.check import finding, server
from hgext_delegate.config import targets
from hgext_delegate.ssh import (
    addresses,
    channel_receiver,
    errors,
    hardening,
    knownhosts,
    probe,
    session,
)

# What a line begins with that lets its key do one thing.
ALONE = 'restrict,command="true"'
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def sshd(server: loopback.Sshd) -> Iterator[loopback.Sshd]:
    yield server
    server.wait()
    server.settle()
    server.authorize(loopback.public(server.identity))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sshhome.move(tmp_path, monkeypatch)
    (tmp_path / '.ssh').mkdir(0o700)
    return tmp_path


def target(sshd: loopback.Sshd, **changed: Any) -> targets.Target:
    ui = uimod.ui()
    url = f'ssh://{ME}@127.0.0.1:{sshd.port}'
    ui.setconfig(b'delegate', b'blog', url.encode())
    # the tests may run as root
    ui.setconfig(b'delegate', b'*:allow-root', b'yes')
    ((made,), _mistakes) = targets.read(ui)
    fields: dict[str, Any] = {
        'identity': str(sshd.identity),
        'hostkey': (sshd.hostkey(),),
        **changed,
    }
    return dataclasses.replace(made, **fields)


def found(checked: targets.Target, *there: str) -> list[finding.Finding]:
    """Findings of keys, server and boundary, by the addresses THERE."""
    host = session.find(checked.host, checked.port, checked.user)
    ways = [addresses.Way('127.0.0.1', address) for address in there]
    made = server.attempts(checked, ways or addresses.ways(host))
    return [
        *server.keys([str(checked.identity)], checked),
        *server.login(checked, host, made),
        *server.boundary(checked, host.user, made),
    ]


def worst(findings: list[finding.Finding]) -> finding.Finding:
    """The only one that is not ok."""
    (bad,) = [f for f in findings if f.level != finding.OK]
    assert bad.remedy
    return bad


def test_all_is_well_with_a_restricted_key_and_a_pinned_host(
    sshd: loopback.Sshd,
) -> None:
    sshd.authorize(f'{ALONE} {loopback.public(sshd.identity)}')
    findings = found(target(sshd))
    assert {f.level for f in findings} == {finding.OK}
    assert [f.topic for f in findings] == [
        *(b'key', b'server', b'server', b'server', b'boundary', b'boundary')
    ]


def test_a_key_that_may_run_anything_is_an_error(sshd: loopback.Sshd) -> None:
    sshd.authorize('restrict ' + loopback.public(sshd.identity))
    bad = worst(found(target(sshd)))
    assert (bad.level, bad.topic) == (finding.ERROR, b'boundary')
    assert bad.message.startswith(b'its line has no command=')
    assert b'needs command=' in bad.remedy


def test_what_sshd_does_not_say_is_not_known(
    sshd: loopback.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.authorize(f'{ALONE} {loopback.public(sshd.identity)}')
    monkeypatch.setattr(hardening, '_MOST_DEBUG_MESSAGES', 0)
    bad = worst(found(target(sshd)))
    assert (bad.level, bad.topic) == (finding.WARNING, b'boundary')
    assert bad.message.startswith(b'sshd does not say ')


@pytest.mark.parametrize(
    ('word', 'settings', 'granted'),
    [
        ('pty', '', 'a pty'),
        ('agent-forwarding', '', 'agent forwarding'),
        (
            'port-forwarding',
            'AllowTcpForwarding local\n',
            'local port forwarding',
        ),
        (
            'port-forwarding',
            'AllowTcpForwarding remote\n',
            'remote port forwarding',
        ),
        (
            'X11-forwarding',
            'X11Forwarding yes\nXAuthLocation /bin/true\n',
            'X11 forwarding',
        ),
    ],
)
def test_each_word_that_gives_something_back_is_named(
    sshd: loopback.Sshd, tmp_path: Path, word: str, settings: str, granted: str
) -> None:
    ran = tmp_path / 'ran'
    options = f'restrict,{word},command="touch {ran}"'
    sshd.authorize(f'{options} {loopback.public(sshd.identity)}')
    sshd.settings = settings + 'LogLevel DEBUG\n'
    log = sshd.folder / 'log'
    before = log.stat().st_size if log.exists() else 0
    bad = worst(found(target(sshd)))
    assert (bad.level, bad.topic) == (finding.ERROR, b'boundary')
    if word == 'pty' and os.getuid() != 0:
        # an sshd that is not root ends when it is asked for a terminal
        assert b'cannot be found out' in bad.message
    else:
        assert bad.message.decode() == f'{granted} is granted to the key'
        assert f"no '{word}' after" in bad.remedy.decode()
        assert (
            f"in {ME}'s authorized_keys needs 'restrict'" in bad.remedy.decode()
        )
    sshd.wait()
    said = log.read_bytes()[before:]
    assert b'Accepted publickey' in said
    assert b'exec' not in said and not ran.exists()


def test_a_port_that_was_opened_is_closed_at_once(sshd: loopback.Sshd) -> None:
    options = 'restrict,port-forwarding'
    sshd.authorize(f'{options} {loopback.public(sshd.identity)}')
    ports = []
    checked = target(sshd)
    with session.open(
        checked.host,
        port=checked.port,
        identity=checked.identity,
        hostkeys=checked.hostkey,
    ) as opened:
        made = opened._link.transport
        ask = made.global_request

        def heard(kind: str, data: Any = None, wait: bool = True) -> Any:
            answer = ask(kind, data, wait)
            if kind == 'tcpip-forward':
                ports.append(answer.get_int())
                answer.rewind()
                socket.create_connection(('127.0.0.1', ports[0])).close()
            return answer

        made.global_request = heard
        assert 'remote port forwarding' in opened.granted()
        # still logged in
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', ports[0]))


def test_without_sessions_nothing_can_be_said_of_the_boundary(
    sshd: loopback.Sshd,
) -> None:
    sshd.settings = 'MaxSessions 0\n'
    bad = worst(found(target(sshd)))
    assert (bad.level, bad.topic) == (finding.ERROR, b'boundary')
    assert bad.message == (
        b'what the key may do cannot be found out: session refused by '
        b'127.0.0.1 port %d' % sshd.port
    )


def test_answers_to_no_question_and_a_closed_channel_are_no_answers() -> None:
    answers = probe._Answers()
    with pytest.raises(channel_receiver.ViolationError):
        answers.hear(channel_receiver.SUCCESS, b'')
    answers.expect()
    answers.hear(channel_receiver.DATA, b'anything')
    answers.hear(channel_receiver.SUCCESS, b'')
    assert answers.take()
    with pytest.raises(channel_receiver.ViolationError):
        answers.hear(channel_receiver.FAILURE, b'')
    for _ in range(3):
        answers.hear(channel_receiver.CLOSE, b'')
    with pytest.raises(EOFError):
        answers.take()
    assert answers._queue.empty()


def test_a_host_that_goes_away_instead_of_an_answer_has_not_refused(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    checked = target(sshd)
    with session.open(
        checked.host,
        port=checked.port,
        identity=checked.identity,
        hostkeys=checked.hostkey,
    ) as opened:
        made = opened._link.transport
        ask = made.global_request

        def cut(*request: Any) -> Any:
            sshd.cut()
            return ask(*request)

        made.global_request = cut
        with pytest.raises(session.SessionError):
            opened.granted()


def test_a_host_key_that_is_not_pinned_is_said_with_the_line_that_pins_it(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshd.authorize(f'{ALONE} {loopback.public(sshd.identity)}')
    known = home / '.ssh' / 'known_hosts'
    known.write_text(f'{sshd.name} {sshd.hostkey()}\n', 'ascii')
    bad = worst(found(target(sshd, hostkey=())))
    assert (bad.level, bad.topic) == (finding.WARNING, b'server')
    assert bad.remedy.decode() == (f'pin it: blog:hostkey = {sshd.hostkey()}')


@pytest.mark.parametrize(
    ('known', 'pins', 'said'),
    [
        ('', (), b'is not known'),
        ('ecdsa', (), b'has changed'),
        ('', ('ecdsa',), b'is not the one that is pinned'),
    ],
)
def test_an_unknown_or_changed_host_key_is_an_error(
    sshd: loopback.Sshd, home: Path, known: str, pins: Any, said: bytes
) -> None:
    wrong = loopback.public(loopback.keygen(home / 'other'))
    if known:
        (home / '.ssh' / 'known_hosts').write_text(f'{sshd.name} {wrong}\n')
    hostkey = (wrong,) if pins else ()
    bad = worst(found(target(sshd, hostkey=hostkey)))
    assert (bad.level, bad.topic) == (finding.ERROR, b'server')
    assert said in bad.message


def test_a_key_that_is_refused_is_an_error_and_says_from_where_it_was_tried(
    sshd: loopback.Sshd,
) -> None:
    options = f'{ALONE},from="192.0.2.1"'
    sshd.authorize(f'{options} {loopback.public(sshd.identity)}')
    bad = worst(found(target(sshd)))
    assert (bad.level, bad.topic) == (finding.ERROR, b'server')
    assert bad.message.decode() == f'127.0.0.1 refused the key as {ME}'
    assert bad.remedy.endswith(b'has from=, it must allow 127.0.0.1')


def test_a_key_that_one_family_of_addresses_refuses_is_told_from_another(
    tmp_path: Path,
) -> None:
    there = [a for a in servers.LOOPBACK if servers._usable(a)]
    other = [a for a in there if a != '127.0.0.1']
    sshd = loopback.Sshd(tmp_path, '::' if other else '0.0.0.0')
    options = f'{ALONE},from="127.0.0.1"'
    sshd.authorize(f'{options} {loopback.public(sshd.identity)}')
    checked = target(sshd, host='localhost')
    host = session.find('localhost', sshd.port, None)
    ways = [addresses.Way(address, address) for address in there]
    made = server.attempts(checked, ways)
    findings = [*server.login(checked, host, made)]
    sshd.close()
    assert findings[0].message.endswith(b', from 127.0.0.1')
    bad = [f for f in findings if f.level != finding.OK]
    assert [f.message.decode() for f in bad] == [
        f'{address} refused the key as {ME}' for address in other
    ]
    assert all(f.remedy.endswith(b'must allow ::1') for f in bad)


def test_algorithms_that_nobody_should_use_are_an_error(
    sshd: loopback.Sshd,
) -> None:
    sshd.settings = 'Ciphers aes128-cbc\n'
    bad = worst(found(target(sshd)))
    assert bad.level == finding.ERROR
    assert bad.message.startswith(b'no algorithm in common with 127.0.0.1')


def test_the_algorithms_that_were_agreed_are_named(sshd: loopback.Sshd) -> None:
    sshd.settings = (
        'KexAlgorithms ecdh-sha2-nistp384\nCiphers aes192-ctr\n'
        'MACs hmac-sha2-512\n'
    )
    line = found(target(sshd, hostkey=(sshd.hostkey('ecdsa'),)))[3].message
    assert line == (
        b'agreed on ecdh-sha2-nistp384, ecdsa-sha2-nistp256, aes192-ctr, '
        b'hmac-sha2-512'
    )


def test_an_address_where_nobody_listens_is_an_error_if_there_is_no_other(
    sshd: loopback.Sshd,
) -> None:
    # 127.0.0.9 is this machine as well, and sshd does not listen there
    sshd.authorize(f'{ALONE} {loopback.public(sshd.identity)}')
    refused = f'connection refused by 127.0.0.9 port {sshd.port}'
    bad = worst(found(target(sshd), '127.0.0.9'))
    assert (bad.level, bad.message.decode()) == (finding.ERROR, refused)
    bad = worst(found(target(sshd), '127.0.0.9', '127.0.0.1'))
    assert (bad.level, bad.message.decode()) == (finding.WARNING, refused)


def test_an_address_that_swallows_everything_is_an_error(
    sshd: loopback.Sshd,
) -> None:
    with loopback.black_hole() as port:
        bad = worst(found(target(sshd, port=port, connect_timeout=0.5)))
    assert bad.level == finding.ERROR
    assert bad.message.startswith(b'timed out after 0.5 s while connecting')


def test_a_name_that_means_nothing_is_an_error(sshd: loopback.Sshd) -> None:
    bad = worst(found(target(sshd, host='no-such-host.invalid')))
    assert (bad.level, bad.topic) == (finding.ERROR, b'server')
    assert bad.message == b'the name no-such-host.invalid cannot be resolved'


def test_of_two_addresses_the_first_that_answers_decides(
    sshd: loopback.Sshd,
) -> None:
    host = session.find(sshd.address, sshd.port, None)
    four = addresses.Way('127.0.0.1', '127.0.0.1')
    six = addresses.Way('::1', '::1')
    error = session.SessionError('::1 refused the key', 'see there')
    error.step = errors.LOGIN
    key = knownhosts.Key('ssh-ed25519', b'')
    agreed = session.Agreed(key, key, ('x',))
    good = server.Attempt(four, agreed)
    bad = server.Attempt(six, error=error)
    for made, level in (
        ([bad, good], finding.ERROR),
        ([good, bad], finding.WARNING),
    ):
        said = worst([*server.login(target(sshd), host, made)])
        assert said.level == level
        assert said.remedy == (
            b'see there; if the line there has from=, it must allow ::1'
        )


def test_a_session_can_be_had_with_one_address_alone(
    sshd: loopback.Sshd,
) -> None:
    checked = target(sshd, host='localhost')
    with pytest.raises(session.SessionError) as caught:
        session.open(
            'localhost',
            port=sshd.port,
            identity=checked.identity,
            hostkeys=checked.hostkey,
            address='127.0.0.9',
        )
    assert caught.value.step == errors.CONNECTING
    assert '127.0.0.9' in caught.value.reason


def keys(*paths: Path, asked: Path | None = None) -> list[finding.Finding]:
    ui = uimod.ui()
    ui.setconfig(b'delegate', b'blog', b'ssh://host')
    ((checked,), _mistakes) = targets.read(ui)
    checked = dataclasses.replace(
        checked, identity=str(asked) if asked else None
    )
    return server.keys([str(path) for path in paths], checked)


def test_a_good_key_is_named_with_its_fingerprint_and_mode(home: Path) -> None:
    key = loopback.keygen(home / 'key')
    (line,) = keys(key, asked=key)
    public = knownhosts.parse_key(loopback.public(key).encode())
    assert public and line.level == finding.OK
    assert line.message.decode() == (
        f'identity {key}: ssh-ed25519 {public.fingerprint}, mode 0600, of {ME}'
    )


def broken(path: Path, how: str) -> None:
    if how == 'mode':
        loopback.keygen(path).chmod(0o640)
    elif how == 'encrypted':
        loopback.keygen(path, 'ed25519', '-N', 'secret')
    elif how == 'damaged':
        path.write_text('no key\n')
        path.chmod(0o600)
    elif how == 'unusable':
        text = '-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA'
        path.write_text(f'{text} PRIVATE KEY-----\n')
        path.chmod(0o600)


@pytest.mark.parametrize(
    ('how', 'said'),
    [
        ('missing', b'does not exist'),
        ('mode', b'can be used by others (mode 0640)'),
        ('encrypted', b'is encrypted'),
        ('damaged', b'is damaged, or no private key'),
        ('unusable', b'holds no usable key (its type is ssh-dss)'),
    ],
)
def test_a_key_that_cannot_be_used_is_an_error_unless_there_is_another(
    home: Path, how: str, said: bytes
) -> None:
    path = home / 'key'
    broken(path, how)
    (bad,) = keys(path)
    assert bad.level == finding.ERROR
    assert said in bad.message and os.fsencode(path) in bad.message
    assert bad.remedy
    good = loopback.keygen(home / 'good')
    assert [f.level for f in keys(path, good)] == [finding.OK, finding.WARNING]


def test_a_key_of_another_account_is_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = loopback.keygen(home / 'key')
    if os.getuid() == 0:
        os.chown(key, 4_000_001, -1)
        account, owner = 'root', '4000001'
    else:
        monkeypatch.setattr(os, 'geteuid', lambda: 4_000_001)
        account, owner = '4000001', ME
    bad = worst(keys(key))
    assert bad.level == finding.WARNING
    assert bad.message.decode().endswith(f'of {owner}')
    assert bad.remedy.decode().endswith(f'chown {account} {key}')


def test_without_any_key_there_is_nothing_to_log_in_with() -> None:
    bad = worst(keys())
    assert bad.level == finding.ERROR
    assert bad.message == b'there is no private key to log in with'


def test_without_a_usable_key_nobody_logs_in(
    sshd: loopback.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, 'attempts', None)
    monkeypatch.setattr(addresses, 'is_this_machine', lambda ways: False)
    findings = [*server.check(None, None, target(sshd, identity='/none'))]
    assert [f.topic for f in findings] == [b'key', b'account']
    assert findings[1].message.decode() == (
        f'{ME} is on another machine: what it may do there is not looked at'
    )


def test_a_damaged_ssh_config_is_an_error(
    sshd: loopback.Sshd, home: Path
) -> None:
    config = home / '.ssh' / 'config'
    config.write_text('Nonsense x\n')
    bad = worst([*server.check(None, None, target(sshd))])
    assert bad.message.decode() == (
        f'ssh -G 127.0.0.1 fails: {config}: line 1: Bad configuration option: '
        'nonsense'
    )


def test_what_the_ssh_config_says_in_vain_is_a_warning(
    sshd: loopback.Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, 'is_this_machine', lambda ways: False)
    sshd.authorize(f'{ALONE} {loopback.public(sshd.identity)}')
    sshhome.configure(
        home,
        f'Host {sshd.address}\n  RemoteCommand x\n  ForwardAgent yes\n'
        '  SendEnv LANG\n  ControlMaster auto\n  Ciphers aes256-ctr\n'
        '  StrictHostKeyChecking yes\n',
    )
    checked = target(sshd)
    said = [*server.check(None, None, checked)]
    warned = [found for found in said if found.level != finding.OK]
    assert {found.level for found in warned} == {finding.WARNING}
    assert sorted(found.message for found in warned) == [
        b"the ssh config has 'forwardagent yes', which is not used",
        b"the ssh config has 'remotecommand x', which is not used",
    ]
    (home / '.ssh' / 'config').unlink()
    said = [*server.check(None, None, checked)]
    assert {found.level for found in said} == {finding.OK}
