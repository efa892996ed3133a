"""A private key file is what ssh-keygen reads; what is none can be mended."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import loopback
import pytest

from hgext_delegate.ssh import session, tokens

needs_putty = pytest.mark.skipif(
    not (shutil.which('puttygen') or shutil.which('apt-get')),
    reason='there is no puttygen for this system',
)
# by openssl genpkey -algorithm ed25519
ED25519_IN_PKCS8 = b"""\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIIcFoGc0CwyNRnN2FrXJy48+vnOrlTYEW5ZpiBoUFb0
-----END PRIVATE KEY-----
"""


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def made(path: Path, type_: str, *options: str) -> bytes:
    """The private key that ssh-keygen has made at PATH."""
    return loopback.keygen(path, type_, *options).read_bytes()


def run(*argv: str | Path, **how: Any) -> bytes:
    return subprocess.run(
        argv, check=True, stdin=subprocess.DEVNULL, stdout=-1, **how
    ).stdout


def by_ssh(path: Path) -> str:
    words = run('ssh-keygen', '-y', '-f', path).decode('ascii')
    return ' '.join(words.split()[:2])


def trouble(path: Path) -> Any:
    with pytest.raises(session.ConfigurationError) as caught:
        session.public_key(str(path))
    error = caught.value
    for text in (error.reason, error.remedy):
        assert str(path.parent) not in text
    assert str(path) in error.whole[0]
    return error


def mend(remedy: str) -> None:
    """Do what REMEDY says, which is a command and maybe words after it."""
    run('sh', '-c', remedy.partition(' takes ')[0])


@pytest.mark.parametrize('form', ['RFC4716', 'PEM', 'PKCS8'])
@pytest.mark.parametrize('type_', ['rsa', 'ecdsa', 'ed25519'])
def test_what_ssh_keygen_writes_is_read(
    tmp_path: Path, type_: str, form: str
) -> None:
    path = loopback.keygen(tmp_path / 'key', type_, '-m', form)
    assert session.public_key(str(path)).text == by_ssh(path)


@pytest.mark.parametrize(
    'parts',
    [
        ('text', 'rsa'),
        ('certificate', 'rsa'),
        ('parameters', 'ecdsa'),
        ('rsa', 'text'),
        ('ed25519', 'text'),
        ('rsa', 'ecdsa'),
        # ssh passes over its own form where it is not the first
        ('rsa', 'ed25519'),
        ('ed25519', 'rsa'),
        ('text', 'ed25519', 'rsa'),
    ],
)
def test_of_several_blocks_that_counts_which_ssh_takes(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    cert = b'-----BEGIN %s-----\nBggqhkjOPQMBBw==\n-----END %s-----\n'
    known = {
        'text': b'Bag Attributes\n  friendlyName: deploy\n',
        'certificate': cert % ((b'CERTIFICATE',) * 2),
        'parameters': cert % ((b'EC PARAMETERS',) * 2),
        'rsa': made(tmp_path / 'rsa', 'rsa', '-m', 'PEM'),
        'ecdsa': made(tmp_path / 'ecdsa', 'ecdsa', '-m', 'PKCS8'),
        'ed25519': made(tmp_path / 'ed25519', 'ed25519'),
    }
    path = put(tmp_path / 'key', b''.join(known[part] for part in parts))
    assert session.public_key(str(path)).text == by_ssh(path)


def test_what_only_other_releases_of_ssh_take_is_read(tmp_path: Path) -> None:
    # OpenSSH 9.6 reads ed25519 in PKCS#8; a line's CR harms PEM nowhere
    path = put(tmp_path / 'key', ED25519_IN_PKCS8)
    assert session.public_key(str(path)).type == 'ssh-ed25519'
    text = made(tmp_path / 'other', 'ed25519').replace(b'\n', b'\r\n')
    there = session.public_key(str(put(tmp_path / 'crlf', text)))
    assert there.text == loopback.public(tmp_path / 'other')


def test_a_key_in_pkcs8_logs_in(sshd: loopback.Sshd, tmp_path: Path) -> None:
    path = put(tmp_path / 'key', ED25519_IN_PKCS8)
    key = session.public_key(str(path)).text
    sshd.authorize(key, loopback.public(sshd.identity))
    opened = session.open(
        sshd.address,
        port=sshd.port,
        identity=str(path),
        hostkeys=[sshd.hostkey()],
        config_path='none',
    )
    with opened:
        assert opened.agreed().key.text == key


@pytest.mark.parametrize('form', ['RFC4716', 'PEM', 'PKCS8'])
def test_a_passphrase_is_taken_away(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a 'key"
    loopback.keygen(path, 'rsa', '-m', form, '-N', 'secret')
    error = trouble(path)
    assert ' is encrypted, and ' in error.reason
    # as a person would who is asked for it
    mend(error.whole[1].replace('-p ', '-P secret -p '))
    assert session.public_key(str(path)).text == loopback.public(path)


@needs_putty
@pytest.mark.parametrize('passphrase', ['', 'secret'])
def test_a_key_of_putty_is_converted(tmp_path: Path, passphrase: str) -> None:
    path, word = tmp_path / 'key.ppk', tmp_path / 'word'
    word.write_text(passphrase, 'ascii')
    argv = ['puttygen', '-t', 'ed25519', '-O', 'private', '-o']
    run(*argv, path, '--new-passphrase', word)
    error = trouble(path)
    assert error.reason == "identity file key.ppk is in PuTTY's form"
    remedy = error.whole[1]
    if passphrase:
        remedy += f' --old-passphrase {word}'
    mend(remedy)
    assert session.public_key(str(path)).text == by_ssh(path)


def test_of_a_public_key_the_private_one_is_named(tmp_path: Path) -> None:
    path = loopback.keygen(tmp_path / 'key')
    public = Path(f'{path}.pub')
    assert public.stat().st_mode & 0o044
    error = trouble(public)
    assert error.reason == 'identity file key.pub is a public key'
    assert error.remedy == 'name the private key, whose name has no .pub'
    for form in ('RFC4716', 'PKCS8', 'PEM'):
        rsa = tmp_path / form
        loopback.keygen(rsa, 'rsa')
        text = run('ssh-keygen', '-e', '-m', form, '-f', rsa)
        assert 'public key' in trouble(put(tmp_path / 'none', text)).reason
    with_options = b'# mine\nssh-ed25519 AAAAC3Nz hg@host\n'
    assert 'public key' in trouble(put(tmp_path / 'none', with_options)).reason


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'is empty'),
        (b' \n', 'is empty'),
        (b'nonsense\n', 'is damaged, or no private key'),
        (b'\x30\x82\x04\xbd', 'is damaged, or no private key'),
        (ED25519_IN_PKCS8[:90], 'is damaged, or no private key'),
        (ED25519_IN_PKCS8[:60] + ED25519_IN_PKCS8[90:], 'is damaged'),
        (ED25519_IN_PKCS8.replace(b'\n', b'\\n'), 'is damaged'),
    ],
)
def test_what_is_no_key_is_said(
    tmp_path: Path, content: bytes, words: str
) -> None:
    error = trouble(put(tmp_path / 'key', content))
    assert words in error.reason
    assert 'again' in error.remedy


@pytest.mark.parametrize('curve', ['secp256k1', 'secp224r1'])
def test_a_curve_that_ssh_has_not_is_refused(
    tmp_path: Path, curve: str
) -> None:
    argv = ['openssl', 'ecparam', '-name', curve, '-genkey', '-noout']
    path = put(tmp_path / 'key', run(*argv))
    assert 'holds no usable key' in trouble(path).reason


def test_a_key_of_an_old_type_is_refused(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    text = made(tmp_path / 'key', 'dsa') if _has_dsa(tmp_path) else b''
    if not text:
        pytest.skip('this ssh-keygen makes no such key')
    error = trouble(tmp_path / 'key')
    assert error.reason.endswith('(its type is ssh-dss)')
    assert "ssh-keygen -t ed25519 -N '' -f NEW" in error.remedy
    assert not recwarn.list


def _has_dsa(folder: Path) -> bool:
    path = str(folder / 'try')
    argv = ['ssh-keygen', '-q', '-t', 'dsa', '-N', '', '-f', path]
    return not subprocess.run(argv, capture_output=True).returncode


@pytest.mark.skipif(os.getuid() != 0, reason='needs another account')
def test_the_key_of_another_account_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam('nobody')
    path = loopback.keygen(tmp_path / 'key')
    new = tmp_path / 'new'
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    monkeypatch.setattr(os, 'getuid', lambda: nobody.pw_uid)
    os.seteuid(nobody.pw_uid)
    try:
        error = trouble(path)
    finally:
        os.seteuid(0)
    assert error.reason == 'identity file key cannot be read: Permission denied'
    command = error.whole[1].removeprefix('as root: ').partition(',')[0]
    assert 'install -o nobody -m 600' in command
    run('sh', '-c', command.replace('NEW', shlex.quote(str(new))))
    os.seteuid(nobody.pw_uid)
    try:
        assert session.public_key(str(new)).text == loopback.public(path)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.getuid() != 0, reason='needs another account')
def test_the_home_of_another_account_is_named_as_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, pwd.getpwnam('nobody').pw_uid, -1)
    monkeypatch.setenv('HOME', str(tmp_path))
    remedy = "HOME is another account's: run hg with HOME=~root"
    assert trouble(tmp_path / '.ssh' / 'id').remedy == remedy
    assert not tokens.foreign_home('/elsewhere')
    os.chown(tmp_path, 0, -1)
    assert trouble(tmp_path / '.ssh' / 'id').remedy != remedy
