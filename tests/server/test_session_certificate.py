"""A key with a certificate logs in as with ssh."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import loopback
import pytest
import sshhome

from hgext_delegate.ssh import session


def certify(ca: Path, key: Path, *options: str) -> Path:
    """Sign KEY with CA; the certificate, as ssh-keygen names it."""
    subprocess.run(
        ['ssh-keygen', '-q', '-s', ca, '-I', 'blog', *options, f'{key}.pub'],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return Path(f'{key}-cert.pub')


@pytest.fixture(name='ca')
def authority(sshd: loopback.Sshd, home: Path) -> Iterator[Path]:
    """The one authority whose certificates sshd takes; it takes no key."""
    path = loopback.keygen(home / 'ca')
    sshd.authorize(f'cert-authority,restrict {loopback.public(path)}')
    sshhome.know(home, sshd)
    yield path
    sshd.authorize(loopback.public(sshd.identity))


def configure(
    home: Path, sshd: loopback.Sshd, key: Path, certificate: Path | str
) -> None:
    name = f'  CertificateFile {certificate}\n' if certificate else ''
    sshhome.configure(
        home,
        f'Host alias\n  HostName {sshd.address}\n  Port {sshd.port}\n'
        f'  IdentityFile {key}\n{name}',
    )


@pytest.mark.parametrize('type_', ['ed25519', 'rsa', 'ecdsa'])
def test_a_certificate_of_the_ssh_config_is_used(
    sshd: loopback.Sshd, home: Path, ca: Path, type_: str
) -> None:
    key = loopback.keygen(home / 'key', type_)
    certificate = certify(ca, key)
    certificate.rename(home / 'certificate')
    configure(home, sshd, key, '')
    assert 'refused the key' in sshhome.failure('alias').reason
    configure(home, sshd, key, '~/certificate')
    assert sshhome.status('alias') == 0


def test_a_certificate_beside_the_key_is_used(
    sshd: loopback.Sshd, home: Path, ca: Path
) -> None:
    key = loopback.keygen(home / 'key')
    certify(ca, key)
    configure(home, sshd, key, '')
    assert sshhome.status('alias') == 0
    sshhome.configure(home, '')
    assert sshhome.status(sshd.address, port=sshd.port, identity=str(key)) == 0


def test_a_certificate_of_another_key_is_not_sent(
    sshd: loopback.Sshd, home: Path, ca: Path
) -> None:
    key = loopback.keygen(home / 'key')
    other = certify(ca, loopback.keygen(home / 'other'))
    configure(home, sshd, key, other)
    assert 'refused the key' in sshhome.failure('alias').reason
    # as with ssh, where one is named that beside the key does not count
    certify(ca, key)
    assert 'refused the key' in sshhome.failure('alias').reason
    with open(home / '.ssh' / 'config', 'a', encoding='ascii') as config:
        config.write(f'  CertificateFile {key}-cert.pub\n')
    assert sshhome.status('alias') == 0


@pytest.mark.parametrize('validity', ['-5m:-1m', '+1h:+2h'])
def test_a_certificate_that_is_not_valid_now_leaves_the_key_itself(
    sshd: loopback.Sshd, home: Path, ca: Path, validity: str
) -> None:
    key = loopback.keygen(home / 'key')
    certify(ca, key, '-V', validity)
    configure(home, sshd, key, '')
    assert 'refused the key' in sshhome.failure('alias').reason
    sshd.authorize(loopback.public(key))
    assert sshhome.status('alias') == 0


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (None, 'cannot be read: No such file or directory'),
        ('nonsense\n', 'is no certificate'),
        ('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n', 'is no certificate'),
    ],
)
def test_a_certificate_that_cannot_be_read_is_named(
    sshd: loopback.Sshd, home: Path, ca: Path, text: str | None, words: str
) -> None:
    if text:
        (home / 'certificate').write_text(text, 'ascii')
    key = loopback.keygen(home / 'key')
    configure(home, sshd, key, '~/certificate')
    assert sshhome.failure('alias').reason == (
        f'certificate file certificate {words}'
    )


@pytest.mark.parametrize(
    'text', ['nonsense', 'ssh-ed25519-cert-v01@openssh.com AAAA', '\0\xff']
)
def test_damage_beside_the_key_leaves_the_key(
    sshd: loopback.Sshd, home: Path, text: str
) -> None:
    sshhome.know(home, sshd)
    key = Path(shutil.copy2(sshd.identity, home / 'key'))
    configure(home, sshd, key, '')
    Path(f'{key}-cert.pub').write_text(text, 'latin-1')
    assert sshhome.status('alias') == 0


@pytest.mark.parametrize(
    ('lines', 'forced'),
    [
        # a line that is passed over says nothing of the one that lets us in
        (['principals="docs",command="true"', 'principals="site"'], False),
        (['principals="docs"', 'principals="site",command="true"'], True),
    ],
)
def test_the_line_that_lets_in_says_whether_a_command_is_forced(
    sshd: loopback.Sshd, home: Path, ca: Path, lines: list[str], forced: bool
) -> None:
    key = loopback.keygen(home / 'key')
    certify(ca, key, '-n', 'site')
    public = loopback.public(ca)
    sshd.authorize(
        *(f'cert-authority,restrict,{line} {public}' for line in lines)
    )
    configure(home, sshd, key, '')
    with session.open('alias') as opened:
        opened.granted()
        assert opened.forced() is forced
