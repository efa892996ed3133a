"""hg delegate-receive --install: one line, put in safely and once."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import accounts
import pytest
from accounts import Failed
from receivers import Receiver, commit
from repositories import Clone, Completed, Repository
from setups import KEY, LINE
from world import World

pytestmark = pytest.mark.once


REST = (
    b'# mine\r\n\n\tssh-rsa AAAAB3 caf\xe9\n'
    b'restrict,command="x \\"ssh-ed25519 AAAA\\"" ssh-rsa AAAAB4 \xff\0'
)


@pytest.fixture(name='bare')
def world_without_ssh_folder(world: World) -> World:
    """The deploy account has none."""
    for path in (world.deploy.home / '.ssh').iterdir():
        path.unlink()
    (world.deploy.home / '.ssh').rmdir()
    return world


def install(world: World, line: str = LINE) -> Completed:
    command = [*world.hg, '--config', 'extensions.hgext_delegate=']
    command += ['delegate-receive', '--install', line]
    return world.deploy.run(command, check=False)


def file(world: World) -> Path:
    return world.deploy.home / '.ssh' / 'authorized_keys'


def modes(world: World) -> tuple[int, int]:
    path = file(world)
    return _mode(path.parent), _mode(path)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_line_is_put_in_once(bare: World) -> None:
    said = install(bare)
    assert (said.returncode, said.stderr) == (0, b'')
    assert said.stdout == b'added to %s\n' % os.fsencode(file(bare))
    assert file(bare).read_text() == LINE + '\n'
    assert modes(bare) == (0o700, 0o600)
    assert file(bare).stat().st_uid == bare.deploy.uid
    before = file(bare).stat()
    said = install(bare)
    assert said.stdout == b'already in %s\n' % os.fsencode(file(bare))
    assert file(bare).stat().st_ino == before.st_ino
    assert [path.name for path in file(bare).parent.iterdir()] == [
        'authorized_keys'
    ]


@pytest.mark.skipif(not accounts.ROOT, reason='who tests is not root')
def test_root_is_no_deploy_account_unless_that_is_said(
    bare: World, tmp_path: Path
) -> None:
    command = [*bare.hg, '--config', 'extensions.hgext_delegate=']
    command += ['delegate-receive', '--install', LINE]
    env = {'HOME': str(tmp_path), 'PATH': accounts.PATH, 'HGRCPATH': ''}
    tmp_path.chmod(0o755)
    refused = subprocess.run(command, env=env, capture_output=True)
    assert (refused.returncode, refused.stdout) == (2, b'')
    assert refused.stderr == (
        b'delegate-receive: this account is root: what is deployed could do '
        b'anything\n(use an account of its own, or add --allow-root)\n'
    )
    assert not list(tmp_path.iterdir())
    command.append('--allow-root')
    assert subprocess.run(command, env=env).returncode == 0
    assert (tmp_path / '.ssh' / 'authorized_keys').read_text() == LINE + '\n'


@pytest.mark.parametrize('end', [b'', b'\n'])
def test_other_lines_stay_byte_for_byte(bare: World, end: bytes) -> None:
    bare.deploy.write('.ssh/authorized_keys', '', 0o644)
    file(bare).parent.chmod(0o755)
    file(bare).write_bytes(REST + end)
    assert install(bare).returncode == 0
    assert file(bare).read_bytes() == REST + b'\n' + LINE.encode() + b'\n'
    assert modes(bare) == (0o700, 0o600)


def test_the_line_lets_the_server_in(
    bare: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(bare, repository)
    node = commit(clone)
    bare.deploy.write('script', '#!/bin/sh\necho installed\n', 0o755)
    command = 'exec ' + shlex.join(receiver.command())
    if os.getuid():
        command = f'HOME={bare.deploy.home}; export HOME; cd; {command}'
    line = f'restrict,from="127.0.0.1,::1",command="{command}"'
    said = install(bare, f'{line} {bare.key(bare.server)}')
    assert said.returncode == 0, said
    assert receiver.deploy(node).stdout == b'installed\n'


@pytest.mark.parametrize(
    'present',
    [
        f'restrict,from="127.0.0.1,::1",command="hg y" {KEY} delegate:blog@r',
        f'{KEY}',
        f' \t{KEY.replace(" ", "  ")} mine',
        f'restrict,command="hg x" {KEY} delegate:blog@r',
    ],
)
def test_a_key_that_is_there_otherwise_is_refused(
    bare: World, present: str
) -> None:
    bare.deploy.write('.ssh/authorized_keys', f'# one\n{present}\n')
    before = file(bare).read_bytes()
    said = install(bare)
    assert said.returncode != 0
    assert said.stderr == (
        b'abort: the key is in line 2 of authorized_keys already, '
        b'with other options\n'
        b'(remove that line first)\n'
    )
    assert file(bare).read_bytes() == before


def test_a_key_in_a_comment_or_as_a_part_is_not_there(bare: World) -> None:
    text = f'# {LINE}\n{KEY}x other\n'
    bare.deploy.write('.ssh/authorized_keys', text)
    assert install(bare).returncode == 0
    assert file(bare).read_text() == text + LINE + '\n'


def test_a_refused_line_changes_nothing(bare: World) -> None:
    said = install(bare, f'restrict {KEY}')
    assert said.returncode != 0
    assert said.stderr == (
        b"abort: the line has no option 'command'\n(paste the line as "
        b"'hg delegate-setup' prints it, in single quotes)\n"
    )
    assert not file(bare).parent.exists()


@pytest.mark.parametrize('what', ['folder', 'file', 'dangling', 'fifo'])
def test_links_and_the_like_are_not_followed(bare: World, what: str) -> None:
    home = bare.deploy.home
    elsewhere = bare.deploy.mkdir('elsewhere')
    bare.deploy.write('elsewhere/authorized_keys', 'precious\n')
    if what == 'folder':
        (home / '.ssh').symlink_to(elsewhere)
    else:
        bare.deploy.mkdir('.ssh')
        if what == 'fifo':
            bare.deploy.run(['mkfifo', str(file(bare))])
        else:
            name = 'authorized_keys' if what == 'file' else 'missing'
            file(bare).symlink_to(elsewhere / name)
    said = install(bare)
    assert said.returncode != 0
    assert b'abort: cannot write ' in said.stderr
    assert b'(it and its folder must belong to this account' in said.stderr
    assert (elsewhere / 'authorized_keys').read_text() == 'precious\n'
    assert not (elsewhere / 'missing').exists()


def test_a_home_of_another_account_is_refused(bare: World) -> None:
    command = [*bare.hg, 'delegate-receive', '--install', LINE]
    command.append('--allow-root')
    if os.getuid():
        # there is one account; /usr is root's
        said = bare.deploy.run(
            [*command, '--config', 'extensions.hgext_delegate='],
            env={'HOME': '/usr'},
            check=False,
        )
    else:
        said = subprocess.run(
            [*command, '--config', 'extensions.hgext_delegate='],
            env={'HOME': str(bare.deploy.home), 'PATH': '/usr/bin:/bin'},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        assert not file(bare).parent.exists()
    assert said.returncode != 0
    assert b' does not belong to this account\n(run this as the' in said.stderr


def test_a_full_disk_loses_nothing(bare: World) -> None:
    bare.deploy.write('.ssh/authorized_keys', 'precious\n')
    limited = ['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh', *bare.hg]
    command = [*limited, '--config', 'extensions.hgext_delegate=']
    try:
        bare.deploy.run([*command, 'delegate-receive', '--install', LINE])
    except Failed as failed:
        assert b'cannot write' in failed.stderr
    else:
        raise AssertionError('there was room')
    assert file(bare).read_text() == 'precious\n'
    assert len(list(file(bare).parent.iterdir())) == 1
