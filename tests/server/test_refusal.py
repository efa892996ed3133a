"""What can be seen of an account of this machine that refuses a key."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accounts
import pytest
from accounts import Account
from world import World

from hgext_delegate.ssh import addresses, refusal, session

pytestmark = pytest.mark.skipif(
    not accounts.ROOT, reason='there is one account only'
)
GENERIC = 'authorized_keys there needs its public half; the log of sshd says'
TRY = """\
import sys
from hgext_delegate.ssh import session
try:
    session.open('localhost', port=int(sys.argv[2]), user=sys.argv[1])
except session.SessionError as error:
    print(error.reason, '|', error.remedy, end='')
"""


@pytest.fixture
def account(world: World) -> Iterator[Account]:
    """A deploy account that takes the key, and is mended at the end."""
    made = world.others[0]
    made.authorize(world.key(world.server), 'true')
    yield made
    for option in ('-s /bin/sh', '-p *', "-e -1"):
        run(f'usermod {option} {made.name}')
    for path in (made.home, made.home / '.ssh'):
        path.chmod(0o755)
        os.chown(path, made.uid, made.gid)


def run(command: str) -> None:
    subprocess.run(['sh', '-fc', command], check=True, capture_output=True)


def attempt(world: World, user: str) -> session.Session:
    return session.open(
        'localhost',
        port=world.port,
        user=user,
        identity=str(world.server.home / '.ssh/id_ed25519'),
        hostkeys=[' '.join(k.split()[:2]) for k in world.sshd.host_keys],
        config_path='none',
    )


def failure(world: World, user: str) -> Any:
    with pytest.raises(session.ConfigurationError) as caught:
        attempt(world, user)
    error = caught.value
    assert error.reason == f'localhost refused the key as {user}'
    assert str(world.base) not in error.reason + error.remedy
    return error


def test_an_account_that_is_not_there_is_said(world: World) -> None:
    error = failure(world, 'hg-bolg')
    assert error.remedy == (
        "this machine has no account hg-bolg: mend the target's URL"
    )


BROKEN = {
    'usermod -s /no/shell {name}': 'the shell of {name} is no program',
    'chage -E 1 {name}': 'the account {name} has expired',
    'usermod -p ! {name}': '{name} is locked, which sshd without PAM refuses',
    'chmod o+w {home}': 'others may write staging',
    'chmod g+w {home}': 'others may write staging',
    'chmod o+w {home}/.ssh': 'others may write .ssh',
    'chmod 666 {home}/.ssh/authorized_keys': 'others may write authorized',
    'chown {other} {home}/.ssh': '.ssh is not of {name}',
    'chown {other} {home}/.ssh/authorized_keys': 'authorized_keys is not of',
}


@pytest.mark.parametrize('how', BROKEN)
def test_what_is_wrong_is_said_with_what_mends_it(
    world: World, account: Account, how: str
) -> None:
    attempt(world, account.name).close()
    names = {
        'name': account.name,
        'home': account.home,
        'other': world.pusher.name,
    }
    run(how.format(**names))
    if 'g+w' in how:
        # Debian's sshd lets a private group write, others do not
        os.chown(account.home, -1, world.pusher.gid)
    error = failure(world, account.name)
    assert error.remedy.startswith(BROKEN[how].format(**names))
    run(error.whole[1].rpartition(': ')[2])
    attempt(world, account.name).close()


def test_a_file_that_is_not_there_is_said(
    world: World, account: Account
) -> None:
    (account.home / '.ssh/authorized_keys').unlink()
    error = failure(world, account.name)
    assert error.remedy == (
        f'authorized_keys is not there: {account.name} needs it'
    )
    assert str(account.home) in error.whole[1]


def moment(days: int) -> str:
    return time.strftime('%Y%m%d', time.localtime(time.time() + days * 86400))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ('from="10.0.0.0/8,192.0.2.?"', 'from= of its line in authorized_keys'),
        ('from="!127.0.0.1,!::1,*"', 'from= of its line in authorized_keys'),
        (f'expiry-time="{moment(-1)}"', 'expiry-time='),
        (f'expiry-time="{moment(0)}Z"', 'expiry-time='),
        (f'command="x",expiry-time="{moment(-9)}1200"', 'expiry-time='),
    ],
)
def test_an_option_that_does_not_match_is_said(
    world: World, account: Account, options: str, said: str
) -> None:
    account.authorize(world.key(world.server), 'true', options)
    assert failure(world, account.name).remedy.startswith(said)


@pytest.mark.parametrize(
    'options',
    [
        'from="127.0.0.0/8,::1"',
        'from="*"',
        'from="localhost,127.*,::1"',
        f'expiry-time="{moment(2)}"',
        f'expiry-time="{moment(2)}1200Z"',
    ],
)
def test_an_option_that_matches_is_not_the_cause(
    world: World, account: Account, options: str
) -> None:
    account.authorize(world.key(world.server), 'true', options)
    attempt(world, account.name).close()
    line = account.read('.ssh/authorized_keys')
    key = session.public_key(str(world.server.home / '.ssh/id_ed25519'))
    assert not refusal._line(line, [key], ['127.0.0.1', '::1'])


@pytest.mark.once
def test_what_stands_in_a_home_is_read_with_care(
    world: World, account: Account
) -> None:
    """The deploy account writes it, and a process of the server reads it."""
    # nothing of a long word is repeated
    line = 'expiry-time="' + '1' * 100_000 + f'" {world.key(world.server)}\n'
    account.write('.ssh/authorized_keys', line, 0o600)
    assert len(failure(world, account.name).remedy) < 200
    # nor is a pipe waited for, or what has no end read
    keys = account.home / '.ssh/authorized_keys'
    keys.unlink()
    run(f'mkfifo -m 600 {keys}; chown {account.name} {keys}')
    assert GENERIC in failure(world, account.name).remedy
    # nor is root told to give away what a link leads to
    for there in ('/dev/zero', world.server.home / '.bashrc'):
        world.server.write('.bashrc', '', 0o666)
        keys.unlink()
        keys.symlink_to(there)
        assert not re.search('chown|chmod', failure(world, account.name).remedy)
    keys.unlink()


def test_another_key_is_said(world: World, account: Account) -> None:
    account.authorize(world.key(world.pusher), 'true')
    text = account.read('.ssh/authorized_keys')
    account.write(
        '.ssh/authorized_keys', f'{text}# {world.key(world.server)}\n', 0o600
    )
    remedy = 'its authorized_keys has no line with this key'
    assert failure(world, account.name).remedy == remedy


def test_who_may_not_look_is_told_what_is_likely(
    world: World, account: Account
) -> None:
    account.authorize(world.key(world.pusher), 'true')

    def said(user: str) -> str:
        argv = [world.python, '-c', TRY, user, str(world.port)]
        return world.server.run(argv).stdout.decode()

    assert GENERIC in said(account.name)
    assert 'has no account hg-bolg' in said('hg-bolg')
    # in a home that is closed as well
    account.home.chmod(0o700)
    assert GENERIC in said(account.name)


@pytest.mark.parametrize(
    ('text', 'elsewhere'),
    [
        ('AuthorizedKeysFile /etc/ssh/keys/%u\n', True),
        ('  authorizedkeysfile none\n', True),
        ('AuthorizedKeysCommand /usr/bin/keys\n', True),
        ('AuthorizedKeysFile .ssh/authorized_keys .ssh/more\n', False),
        ('#AuthorizedKeysFile /x\nAuthorizedKeysCommand none\n', False),
        (None, True),
    ],
)
def test_keys_that_are_elsewhere_are_not_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    elsewhere: bool,
) -> None:
    config = tmp_path / 'sshd_config'
    monkeypatch.setattr(refusal, '_CONFIG', str(config))
    if text is not None:
        config.write_text(text, 'ascii')
    assert refusal._is_elsewhere() == elsewhere


def test_another_machine_is_not_looked_at(
    world: World, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.authorize(world.key(world.pusher), 'true')
    monkeypatch.setattr(addresses, 'is_this_machine', lambda ways: False)
    assert failure(world, account.name).remedy.startswith(GENERIC)
