"""Sessions log in to OpenSSH's own sshd: keys, host keys and algorithms."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from pathlib import Path

import loopback
import pytest
import sessions

from hgext_delegate.ssh import hostkeys, rfc4251, session


def test_a_refused_key_names_host_and_user(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    other = loopback.keygen(tmp_path / 'other')
    error = sessions.failure(sshd, 'true', identity=str(other))
    user = pwd.getpwuid(os.getuid()).pw_name
    assert error.reason == f'{sshd.address} refused the key as {user}'
    assert 'authorized_keys' in error.remedy
    assert not error.started


def test_a_key_that_is_not_enough_is_refused(sshd: loopback.Sshd) -> None:
    sshd.settings = (
        'PasswordAuthentication yes\nAuthenticationMethods publickey,password\n'
    )
    assert 'refused the key' in sessions.failure(sshd, 'true').reason


@pytest.mark.parametrize('type_', ['rsa', 'ecdsa', 'ed25519'])
def test_every_type_of_key_logs_in(
    sshd: loopback.Sshd, tmp_path: Path, type_: str
) -> None:
    key = loopback.keygen(tmp_path / 'key', type_)
    sshd.authorize(loopback.public(key))
    try:
        end, _output = sessions.run(sshd, 'true', identity=str(key))
    finally:
        sshd.authorize(loopback.public(sshd.identity))
    assert end.status == 0


@pytest.mark.parametrize('type_', ['rsa', 'ecdsa'])
@pytest.mark.parametrize('form', ['PEM', 'PKCS8'])
def test_keys_in_other_forms_log_in(
    sshd: loopback.Sshd, tmp_path: Path, type_: str, form: str
) -> None:
    key = loopback.keygen(tmp_path / 'key', type_, '-m', form)
    sshd.authorize(loopback.public(key))
    try:
        end, _output = sessions.run(sshd, 'true', identity=str(key))
    finally:
        sshd.authorize(loopback.public(sshd.identity))
    assert end.status == 0


@pytest.mark.parametrize('type_', ['rsa', 'ecdsa', 'ed25519'])
def test_a_host_with_several_keys_is_asked_for_the_one_that_is_known(
    sshd: loopback.Sshd, tmp_path: Path, type_: str
) -> None:
    known = tmp_path / 'known_hosts'
    known.write_text(f'{sshd.name} {sshd.hostkey(type_)}\n', 'ascii')
    for how in (
        {'hostkeys': [sshd.hostkey(type_)]},
        {'hostkeys': (), 'knownhosts': [str(known)]},
    ):
        assert sessions.run(sshd, 'true', **how)[0].status == 0


def test_a_hashed_known_hosts_file_is_read(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    known = tmp_path / 'known_hosts'
    known.write_text(f'{sshd.name} {sshd.hostkey()}\n', 'ascii')
    subprocess.run(['ssh-keygen', '-q', '-H', '-f', known], check=True)
    end, _output = sessions.run(
        sshd, 'true', hostkeys=(), knownhosts=[str(known)]
    )
    assert end.status == 0


def test_an_unknown_host_key_is_refused_with_its_fingerprint(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    known = tmp_path / 'known_hosts'
    known.touch()
    error = sessions.failure(sshd, 'true', hostkeys=(), knownhosts=[str(known)])
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'host key of {where} is not known'
    said = subprocess.check_output(
        ['ssh-keygen', '-l', '-f', sshd.folder / 'host_ed25519.pub']
    )
    assert said.split()[1].decode('ascii') in error.remedy
    pin = error.remedy.partition('NAME:hostkey = ')[2]
    # and it helps
    assert sessions.run(sshd, 'true', hostkeys=[pin])[0].status == 0
    assert not error.started


def test_a_changed_host_key_is_refused_and_the_line_is_named(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    known = tmp_path / 'known_hosts'
    other = loopback.public(sshd.identity)
    known.write_text(f'# old\n{sshd.name} {other}\n', 'ascii')
    error = sessions.failure(sshd, 'true', hostkeys=(), knownhosts=[str(known)])
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'host key of {where} has changed'
    assert 'known_hosts:2' in error.remedy
    assert error.remedy.count('SHA256:') == 2
    assert str(tmp_path) not in error.reason + error.remedy
    assert f', but {known}:2 says ' in error.whole[1]
    pin = error.remedy.partition('NAME:hostkey = ')[2].partition(';')[0]
    assert sessions.run(sshd, 'true', hostkeys=[pin])[0].status == 0


def test_a_revoked_host_key_is_refused(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    known = tmp_path / 'known_hosts'
    key = sshd.hostkey()
    known.write_text(f'{sshd.name} {key}\n@revoked * {key}\n', 'ascii')
    error = sessions.failure(sshd, 'true', hostkeys=(), knownhosts=[str(known)])
    assert error.reason.endswith('is revoked')


def test_another_key_than_the_pinned_one_is_refused(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    # What the files say does not count then.
    known = tmp_path / 'known_hosts'
    known.write_text(f'* {sshd.hostkey()}\n', 'ascii')
    error = sessions.failure(
        sshd,
        'true',
        hostkeys=[loopback.public(sshd.identity)],
        knownhosts=[str(known)],
    )
    assert error.reason.endswith('is not the one that is pinned')


def test_a_damaged_pin_is_refused(sshd: loopback.Sshd) -> None:
    error = sessions.failure(sshd, 'true', hostkeys=['ssh-ed25519 AAAA'])
    assert 'is damaged' in error.reason


@pytest.mark.parametrize(
    ('blob', 'type_'),
    [
        (rfc4251.pack(b'ssh-dss', b'x'), 'ssh-dss'),
        (rfc4251.pack(b'\x1b[2J' + b'x' * 99, b'x'), '?[2J' + 'x' * 36),
        (b'\0\0', ''),
    ],
)
def test_a_host_key_of_an_unknown_type_is_refused(
    sshd: loopback.Sshd, blob: bytes, type_: str
) -> None:
    there = session.find(sshd.address, sshd.port, None)
    policy = hostkeys.HostKeyPolicy(there, (), ())
    with pytest.raises(session.ConfigurationError) as caught:
        policy.check(blob)
    assert caught.value.reason.endswith('is damaged, or not of a known type')
    assert caught.value.remedy.startswith(f"its type is '{type_}'; sshd")


def test_a_wrong_host_key_is_refused_before_any_key_is_shown(
    sshd: loopback.Sshd,
) -> None:
    log = sshd.folder / 'log'
    log.touch()
    before = log.stat().st_size
    sessions.failure(sshd, 'true', hostkeys=[loopback.public(sshd.identity)])
    sshd.wait()
    last = log.read_bytes()[before:]
    assert b'preauth' in last
    assert b'authenticating' not in last


def test_a_host_may_have_an_ipv6_address(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp('sshd6')
    with contextlib.closing(loopback.Sshd(folder, '::1')) as sshd:
        known = folder / 'known_hosts'
        known.write_text(f'{sshd.name} {sshd.hostkey()}\n', 'ascii')
        end, _output = sessions.run(
            sshd, 'true', hostkeys=(), knownhosts=[str(known)]
        )
        assert end.status == 0


def test_only_the_strong_algorithms_are_offered(sshd: loopback.Sshd) -> None:
    with sessions.connect(sshd) as opened:
        transport = opened._link.transport
        offered = ' '.join(
            transport.preferred_ciphers
            + transport.preferred_macs
            + transport.preferred_kex
            + transport.preferred_keys
            + transport.preferred_pubkeys
        )
        cipher = transport.remote_cipher
    for weak in ('cbc', '3des', 'sha1', 'md5', 'group1-', 'ssh-rsa', 'dss'):
        assert weak not in offered
    assert 'cert' not in offered
    gcm = 'aes128-gcm@openssh.com'
    assert cipher == (gcm if gcm in offered else 'aes128-ctr')


@pytest.mark.parametrize(
    'setting',
    [
        'KexAlgorithms ecdh-sha2-nistp521',
        'KexAlgorithms diffie-hellman-group16-sha512',
        'KexAlgorithms diffie-hellman-group-exchange-sha256',
        'Ciphers aes256-ctr\nMACs hmac-sha2-512',
        'Ciphers aes192-ctr\nMACs hmac-sha2-512-etm@openssh.com',
        'RekeyLimit 1M',
    ],
)
def test_a_server_with_other_strong_algorithms_is_used(
    sshd: loopback.Sshd, setting: str
) -> None:
    sshd.settings = setting + '\n'
    end, output = sessions.run(sshd, 'cat', bytes(3_000_000))
    assert end.status == 0
    assert sessions.text(output, 1) == bytes(3_000_000)


def test_what_the_server_says_before_login_is_not_shown(
    sshd: loopback.Sshd, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    banner = tmp_path / 'banner'
    banner.write_bytes(b'\x1b[2J\xff unauthorized access is forbidden\n')
    sshd.settings = f'Banner {banner}\n'
    end, output = sessions.run(sshd, 'true')
    assert (end.status, output) == (0, [])
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ('', '')
