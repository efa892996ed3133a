"""The line for authorized_keys means what it should to sshd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import loopback
import pytest

from hgext_delegate.commands.setup import snippets
from hgext_delegate.receiver import authorized_keys

pytestmark = pytest.mark.once


@pytest.fixture(scope='module')
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback.Sshd]:
    server = loopback.Sshd(tmp_path_factory.mktemp('sshd'))
    yield server
    server.close()


def logged_in(sshd: loopback.Sshd, line: str) -> subprocess.CompletedProcess:
    """ssh to SSHD, which lets in by LINE."""
    sshd.authorize(line)
    known = sshd.folder / 'known_hosts'
    known.write_text(f'{sshd.name} {sshd.hostkey()}\n', 'ascii')
    return subprocess.run(
        [
            *('ssh', '-F', 'none', '-i', sshd.identity, '-p', str(sshd.port)),
            *('-o', f'UserKnownHostsFile={known}', '-o', 'BatchMode=yes'),
            *(sshd.address, 'what is asked for'),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


@pytest.mark.parametrize(
    'command',
    [
        'echo plain',
        'echo "a  b" \'c  d\' "\'" \'"\'',
        r'echo a\ \ b \\ \" "\"" "\\"' + ' e',
        'echo "$SSH_ORIGINAL_COMMAND" # , " comment',
        'printf "%s|" \\"a b\\" "c,from=\\"192.0.2.1\\""',
        'echo "restrict,command=\\"x\\" ssh-ed25519 AAAA"',
    ],
)
def test_sshd_runs_the_command_that_was_meant(
    sshd: loopback.Sshd, command: str
) -> None:
    expected = subprocess.run(
        ['sh', '-c', command],
        env={'SSH_ORIGINAL_COMMAND': 'what is asked for'},
        capture_output=True,
    )
    public = loopback.public(sshd.identity)
    line = snippets.authorized_key(
        ['127.0.0.1', '::1'], command, public, 'delegate:a@b'
    )
    done = logged_in(sshd, line)
    assert (done.returncode, done.stdout) == (0, expected.stdout)


def test_sshd_lets_nobody_in_from_elsewhere(sshd: loopback.Sshd) -> None:
    public = loopback.public(sshd.identity)
    for sources, status in ((['192.0.2.1', '::1'], 255), ([], 0)):
        line = snippets.authorized_key(sources, 'true', public, 'x')
        assert logged_in(sshd, line).returncode == status


def test_the_receiver_takes_the_line_as_well(sshd: loopback.Sshd) -> None:
    public = loopback.public(sshd.identity)
    command = snippets.receiver(
        '/opt/my hg',
        ('hgext_delegate', "/a b/it's"),
        'blog',
        '/srv/"a" b',
        True,
    )
    for sources in ([], ['127.0.0.1', 'fe80::1%*']):
        line = snippets.authorized_key(sources, command, public, 'd:a@b')
        assert authorized_keys.parse(line) == public
        words = authorized_keys.command_of(line)
        assert words[1] == '/opt/my hg' and words[-1] == '--box'
