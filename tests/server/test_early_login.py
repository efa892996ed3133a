"""Logging in begins while a push arrives, and is no push's business."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable

import accounts
import pytest
import servers
import verdict
from hgrc import targets
from repositories import Clone, Repository
from waiting import until
from world import SERVE, World

# the kernel counts all processes of an account
ALONE = pytest.mark.skipif(not accounts.ROOT, reason='one account for all')
SLOW = 'until [ -e go ]; do sleep 0.02; done\n'


def logins(world: World) -> int:
    """How often the deploy account was logged in to, by now."""
    return world.ssh_log().count(f'publickey for {world.deploy.name} ')


def sessions(world: World) -> list[int]:
    """The processes of sshd that serve the deploy account."""
    name = f'sshd: {world.deploy.name}'
    living = world.living().items()
    return [pid for pid, line in living if line.partition('@')[0] == name]


@pytest.fixture(name='hold')
def hold_pushes(world: World, repository: Repository) -> Callable[[], object]:
    """Pushes wait in their transaction until this is called."""
    repository.hgrc(targets(world))
    go = world.server.home / 'go'
    hold = f'until [ -e {go} ]; do sleep 0.02; done'
    repository.hgrc(targets(world) + f'[hooks]\npretxnchangegroup.h = {hold}\n')
    return lambda: world.server.write('go', '')


def test_it_is_logged_in_while_the_push_is_still_checked(
    world: World, clone: Clone, hold: Callable[[], object]
) -> None:
    before = logins(world)
    node = clone.commit()
    push = clone.start_push()
    until(lambda: logins(world) > before)
    assert not world.deploys()
    hold()
    assert verdict.last(push.finish()) == verdict.deployed(node)
    assert logins(world) == before + 1


@pytest.mark.parametrize('verdict_of_hook', ['true', 'false'])
def test_it_begins_before_the_client_has_sent_anything(
    world: World, repository: Repository, clone: Clone, verdict_of_hook: str
) -> None:
    clone.commit()
    clone.push()  # what is empty has no branches to ask for
    before = logins(world)
    repository.hgrc(targets(world))
    go = world.pusher.home / 'go'
    go.unlink(missing_ok=True)
    hook = f'until [ -e {go} ]; do sleep 0.02; done; {verdict_of_hook}'
    node = clone.commit()
    push = clone.start_push('--config', f'hooks.preoutgoing={hook}')
    until(lambda: logins(world) > before)
    world.pusher.write('go', '')
    done = push.finish(check=False)
    assert logins(world) == before + 1
    if verdict_of_hook == 'true':
        assert verdict.last(done) == verdict.deployed(node)
    else:
        # the client has pushed nothing after all
        assert not done.remote
        assert not world.deploys()
    until(lambda: not sessions(world))


def test_over_http_as_well(
    world: World,
    repository: Repository,
    clone: Clone,
    hold: Callable[[], object],
) -> None:
    before = logins(world)
    clone.commit()
    with world.hgweb([repository]) as url:
        push = clone.start_push(f'{url}/{repository.path.name}')
        until(lambda: logins(world) > before)
        assert not world.deploys()
        hold()
        assert b'blog| deployed' in push.finish().remote
    assert logins(world) == before + 1


@pytest.mark.once
def test_over_http_one_that_has_ended_is_started_again(
    world: World,
    repository: Repository,
    clone: Clone,
    hold: Callable[[], object],
) -> None:
    before = logins(world)
    node = clone.commit()
    with world.hgweb([repository]) as url:
        push = clone.start_push(f'{url}/{repository.path.name}')
        until(lambda: logins(world) > before)
        for pid, line in world.living().items():
            if line.endswith('delegate --pending -- -'):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not sessions(world))
        hold()
        assert verdict.last(push.finish()) == verdict.deployed(node)
    assert logins(world) == before + 2


@pytest.mark.parametrize(
    'more',
    ['[hooks]\npretxnclose.no = false\n', 'blog:when = none()\n'],
    ids=['rejected', 'matching nothing'],
)
def test_what_was_begun_for_nothing_ends_without_a_word(
    world: World, repository: Repository, clone: Clone, more: str
) -> None:
    before = logins(world)
    # So that it ends long before it could be used.
    repository.hgrc(
        targets(world, more=more) + '[hooks]\npretxnchangegroup.h = sleep 0.5\n'
    )
    clone.commit()
    push = clone.push(check=False)
    assert logins(world) == before + 1
    assert b'delegate' not in b'\n'.join(push.remote)
    assert not world.deploys()
    until(lambda: not sessions(world))


def test_a_rejected_push_waits_for_no_host(
    world: World, repository: Repository, clone: Clone
) -> None:
    begun = world.server.home / 'begun'
    world.server.write(
        '.ssh/config',
        f'Host silent\n  ProxyCommand touch {begun}; sleep 900\n',
        0o600,
    )
    repository.hgrc(
        '[delegate]\nblog = ssh://silent\nblog:connect-timeout = 1h\n'
        '[hooks]\npretxnchangegroup.no = '
        f'until [ -e {begun} ]; do sleep 0.02; done; false\n'
    )
    clone.commit()
    push = clone.push(check=False)
    assert push.returncode == 255
    assert b'delegate' not in b'\n'.join(push.remote)
    # Whether the command is left behind, nothing_leaks says.


def test_only_a_push_logs_in(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    before = logins(world)
    other = world.clone(repository)
    for args in (
        ['pull'],
        ['pull', '-b', 'default'],
        ['incoming'],
        ['outgoing'],
        ['push'],
        ['push', '-B', '@'],
        ['identify', repository.url],
    ):
        other.hg(*args, check=False)
    assert logins(world) == before


@pytest.mark.once
def test_a_host_with_many_targets_is_not_logged_in_to_for_each(
    world: World,
    repository: Repository,
    clone: Clone,
    hold: Callable[[], object],
) -> None:
    names = [f'site{number}' for number in range(6)]
    text = (repository.path / '.hg' / 'hgrc').read_text('utf-8')
    repository.hgrc(targets(world, *names) + text[text.index('[hooks]') :])
    before = logins(world)
    clone.commit()
    push = clone.start_push()
    until(lambda: logins(world) == before + 4)
    hold()
    said = push.finish().remote
    ends = [end.target for end in verdict.among(said)]
    assert sorted(ends) == sorted(names)
    assert logins(world) == before + len(names)


@pytest.mark.once
def test_who_waits_for_a_turn_keeps_no_connection(
    world: World,
    repository: Repository,
    clone: Clone,
    hold: Callable[[], object],
) -> None:
    held = (repository.path / '.hg' / 'hgrc').read_text('utf-8')
    repository.hgrc(targets(world))
    world.forced_command('. ./record\n' + SLOW)
    before = logins(world)
    clone.commit()
    first = clone.start_push()
    until(world.deploys)
    second = world.clone(repository)
    second.commit()
    repository.hgrc(held)
    later = second.start_push()
    until(lambda: logins(world) == before + 2)
    hold()
    later.wait_for(b'waiting for delegation 1 of ')
    until(lambda: len(sessions(world)) == 1)
    world.deploy.write('go', '')
    for push in (first, later):
        assert verdict.last(push.finish()).state == 'deployed'
    assert logins(world) == before + 3


def test_a_connection_that_is_lost_meanwhile_is_made_again(
    world: World, clone: Clone, hold: Callable[[], object]
) -> None:
    before = logins(world)
    node = clone.commit()
    push = clone.start_push()
    until(lambda: sessions(world))
    time.sleep(0.5)  # nothing shows when the client has heard of it
    for pid in sessions(world):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not sessions(world))
    hold()
    said = push.finish().remote
    assert verdict.read(said[-1]) == verdict.deployed(node)
    assert not any(b'trying again' in line for line in said)
    assert logins(world) == before + 2


@pytest.mark.once
@ALONE
def test_a_push_stands_where_no_threads_are_to_be_had(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    hg = shlex.join(world.hg)
    for limit in range(1, 7):
        limited = SERVE.format(hg=f'prlimit --nproc={limit} {hg}')
        world.server.write('serve', limited, 0o755)
        node = clone.commit()
        push = clone.push()
        assert not [x for x in push.remote if b'Traceback' in x]
        assert [x for x in push.remote if b'added 1 changesets' in x]
        if verdict.deployed(node) not in verdict.among(push.remote):
            # and no other reason is given
            assert [x for x in push.remote if b'delegate: ' in x], push
            repository.hg('delegate', '--pending')
        assert world.deploys()[-1].context['node'] == node


@pytest.mark.once
@ALONE
def test_a_web_server_keeps_nothing_where_no_threads_are_to_be_had(
    world: World, repository: Repository, clone: Clone
) -> None:
    names = 'blog', 'docs', 'site', 'wiki'
    repository.hgrc(targets(world, *names))
    for limit in (6, 9):
        port = servers.free_port()
        command = ['prlimit', f'--nproc={limit}', *world.hg, 'serve']
        command += ['--web-conf', str(world.web_conf([repository]))]
        command += ['--address', '127.0.0.1', '--port', str(port)]
        with world.http(command, port) as url:
            for _ in range(3):
                clone.commit()
                push = clone.push(f'{url}/{repository.path.name}')
                assert not [x for x in push.remote if b'exception' in x]
            (pid,) = [p for p, c in world.living().items() if 'serve' in c]
            give_up = time.monotonic() + 10
            while len(os.listdir(f'/proc/{pid}/task')) > 1:
                assert time.monotonic() < give_up, 'threads are left'
                time.sleep(0.1)
    repository.hg('delegate', '--pending')
    assert repository.hg('delegate', '--pending').stdout == b''
