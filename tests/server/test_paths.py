"""Whatever goes wrong, a pusher does not learn where things lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import verdict
from hgrc import targets
from repositories import Clone, Repository
from world import World

Cause = Callable[[World, Repository], str]  # does harm; more of [delegate]


def no_key(world: World, repository: Repository) -> str:
    return f'blog:identity = {world.server.home}/nosuch\n'


def an_open_key(world: World, repository: Repository) -> str:
    key = world.server.home / '.ssh' / 'id_ed25519'
    copy = world.server.write('key', key.read_text('ascii'), 0o644)
    return f'blog:identity = {copy}\n'


def no_key_at_all(world: World, repository: Repository) -> str:
    return f'blog:identity = {world.server.write("key", "no key", 0o600)}\n'


def a_relative_key(world: World, repository: Repository) -> str:
    return 'blog:identity = .ssh/id_ed25519\n'


def a_key_that_is_refused(world: World, repository: Repository) -> str:
    world.deploy.authorize(world.key(world.pusher), 'true')
    return ''


def an_unknown_host(world: World, repository: Repository) -> str:
    return f'blog:knownhosts = {world.server.write("hosts", "")}\n'


def no_known_hosts(world: World, repository: Repository) -> str:
    (world.server.home / '.ssh' / 'known_hosts').unlink()
    return ''


def a_changed_host(world: World, repository: Repository) -> str:
    lines = world.known_hosts().splitlines()
    kind, key = world.key(world.pusher).split()[:2]
    hosts = lines[0].split()[0]
    file = world.server.write('hosts', f'{hosts} {kind} {key}\n')
    return f'blog:knownhosts = {file}\n'


def a_folder_of_known_hosts(world: World, repository: Repository) -> str:
    return f'blog:knownhosts = {world.server.home}\n'


def a_broken_ssh_config(world: World, repository: Repository) -> str:
    world.server.write('.ssh/config', 'Host *\nMatch nonsense "\n', 0o600)
    return ''


def an_ssh_config_that_others_write(
    world: World, repository: Repository
) -> str:
    world.server.write('.ssh/config', 'Host *\n', 0o666)
    return ''


def a_proxy_that_fails(world: World, repository: Repository) -> str:
    world.server.write(
        '.ssh/config',
        f'Host *\nProxyCommand cat {world.server.home}/nosuch\n',
        0o600,
    )
    return ''


def a_mistake_in_another_hgrc(world: World, repository: Repository) -> str:
    world.server.write('.hgrc', '[delegate]\n*:timeout = soon\n')
    return ''


def a_mistake_in_an_included_file(world: World, repository: Repository) -> str:
    other = world.server.write('other.rc', '[delegate]\nblog:wait = maybe\n')
    return f'%include {other}\n'


def a_bad_revset(world: World, repository: Repository) -> str:
    return 'blog:when = bookmark(nosuch)\n'


def a_script_that_fails(world: World, repository: Repository) -> str:
    world.forced_command('exit 3\n')
    return ''


def a_script_that_is_silent(world: World, repository: Repository) -> str:
    world.forced_command('sleep 3\n')
    return 'blog:idle-timeout = 0.5s\n'


def a_damaged_journal(world: World, repository: Repository) -> str:
    world.server.write(repository.path / '.hg/delegate/journal', 'x' * 9999)
    return ''


def no_folder_of_ours(world: World, repository: Repository) -> str:
    world.server.write(repository.path / '.hg/delegate', '')
    return ''


def no_lock_of_ours(world: World, repository: Repository) -> str:
    world.server.mkdir(repository.path / '.hg/delegate/log')
    path = repository.path / '.hg/delegate/blog.lock'
    path.symlink_to(world.server.home / 'nosuch')
    return ''


CAUSES = [
    value
    for value in list(globals().values())
    if getattr(value, '__annotations__', {}).get('repository') == 'Repository'
]


# What Mercurial or paramiko says themselves differs from release to release.
THEIRS = {no_key_at_all, an_unknown_host, a_bad_revset, a_proxy_that_fails}


@pytest.mark.parametrize(
    'cause',
    [
        pytest.param(
            cause,
            marks=() if cause in THEIRS else pytest.mark.once,
            id=cause.__name__,
        )
        for cause in CAUSES
    ],
)
def test_a_failure_is_told_without_a_path(
    world: World, repository: Repository, clone: Clone, cause: Cause
) -> None:
    more = cause(world, repository)
    repository.hgrc(targets(world, more=f'blog:retries = 0\n{more}'))
    clone.commit()
    push = clone.push('--config', 'ui.verbose=yes', '--config', 'ui.debug=yes')
    told = [line for line in push.remote if line.startswith(b'delegate: ')]
    assert [x for x in told if verdict.read(x).state != 'deployed']
    for line in push.remote:
        assert str(world.server.home).encode() not in line
        assert str(world.base).encode() not in line
        assert b'Traceback' not in line and b'.py' not in line
