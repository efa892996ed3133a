"""Which private keys a session uses, and which files it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import loopback
import pytest
import sshhome

from hgext_delegate.ssh import session


def test_the_default_keys_are_those_of_openssh(
    sshd: loopback.Sshd, home: Path
) -> None:
    def attempt() -> int | None:
        return sshhome.status(
            sshd.address, port=sshd.port, hostkeys=[sshd.hostkey()]
        )

    loopback.keygen(home / '.ssh' / 'id_ecdsa', 'ecdsa')
    with pytest.raises(session.SessionError, match='refused the key'):
        attempt()
    (home / '.ssh' / 'id_ed25519').write_bytes(sshd.identity.read_bytes())
    (home / '.ssh' / 'id_ed25519').chmod(0o600)
    assert attempt() == 0


def test_no_key_at_all_is_said_before_connecting(home: Path) -> None:
    error = sshhome.failure('127.0.0.1', port=1)
    assert error.reason == (
        'there is no key to log in to 127.0.0.1 port 1 with'
    )


def test_an_identity_that_was_asked_for_is_the_only_one_tried(
    sshd: loopback.Sshd, home: Path
) -> None:
    other = loopback.keygen(home / 'other')
    sshhome.configure(home, sshhome.alias(sshd))
    sshhome.know(home, sshd)
    assert (
        'refused the key'
        in sshhome.failure('alias', identity=str(other)).reason
    )


@pytest.mark.parametrize('most', [1, 2, 3])
def test_a_host_that_hangs_up_after_too_many_keys_is_told(
    sshd: loopback.Sshd, home: Path, most: int
) -> None:
    keys = [loopback.keygen(home / f'key{number}') for number in range(4)]
    lines = ''.join(f'  IdentityFile {key}\n' for key in keys)
    sshhome.configure(home, sshhome.alias(sshd).replace(
        f'  IdentityFile {sshd.identity}\n', lines))  # fmt: skip
    sshhome.know(home, sshd)
    sshd.settings = f'MaxAuthTries {most}\n'
    error = sshhome.failure('alias')
    assert isinstance(error, session.ConfigurationError)
    assert error.reason.startswith(f'{sshd.address} hung up after {most} key')
    # what the remedy says, and it is the one key that was not tried
    sshd.authorize(loopback.public(keys[3]))
    try:
        assert sshhome.status('alias', identity=str(keys[3])) == 0
    finally:
        sshd.authorize(loopback.public(sshd.identity))


def test_one_key_that_is_refused_at_the_only_try_is_refused(
    sshd: loopback.Sshd, home: Path
) -> None:
    other = str(loopback.keygen(home / 'other'))
    sshhome.configure(home, sshhome.alias(sshd))
    sshhome.know(home, sshd)
    sshd.settings = 'MaxAuthTries 1\n'
    assert 'refused the key' in sshhome.failure('alias', identity=other).reason


def key_trouble(path: Path) -> Any:
    """What is said of a key, for which nobody may be connected to."""
    error = sshhome.failure('127.0.0.1', port=1, identity=str(path))
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
    assert error.whole[1] == f'chmod 600 {path}'


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
    assert error.remedy.startswith("ssh-keygen -p -N '' -f key takes")


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
