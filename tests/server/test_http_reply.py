"""A pusher over HTTP sees each line while it is printed."""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.request

import pytest
import verdict
from delegations import log
from hgrc import targets
from mercurial import bundle2, ui as uimod
from repositories import Clone, Repository
from waiting import until
from world import World


def test_each_line_arrives_while_the_deploy_still_runs(
    world: World, repository: Repository, ready: Clone
) -> None:
    steps = 4
    world.forced_command(
        '. ./record\n'
        f'for i in $(seq {steps}); do\n'
        '  echo "step $i"\n  until [ -e "go$i" ]; do sleep 0.02; done\ndone\n'
    )
    node = ready.commit()
    with world.hgweb([repository]) as url:
        push = ready.start_push(f'{url}/{repository.path.name}')
        for step in range(1, steps + 1):
            push.wait_for(b'blog| step %d' % step)
            (deploy,) = world.deploys()
            assert deploy.ended is None
            world.deploy.write(f'go{step}', '')
        done = push.finish()
    assert verdict.last(done) == verdict.deployed(node)
    order = [line for line in done.remote if b'added 1 changesets' in line]
    assert done.remote.index(order[0]) < done.remote.index(b'blog| step 1')


def test_a_failure_is_said_and_the_push_stands(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:remote = push\n'))
    world.forced_command('. ./record\necho oops\nexit 3\n')
    ready.commit()
    with world.hgweb([repository]) as url:
        push = ready.push(f'{url}/{repository.path.name}')
    assert push.returncode == 0
    end = push.remote[push.remote.index(b'blog| oops') + 1]
    assert verdict.read(end) == verdict.failed('exit status 3')
    # what the repository's hgrc says counts for the hints
    again = (
        b"('hg delegate blog' on the server, or with --remote, runs it again)"
    )
    assert push.remote[-1] == again


def test_two_pushes_in_a_row_are_both_live(
    world: World, repository: Repository, ready: Clone
) -> None:
    with world.hgweb([repository]) as url:
        for _ in range(2):
            node = ready.commit()
            push = ready.push(f'{url}/{repository.path.name}')
            assert push.remote.count(b'blog| deployed') == 1
            assert verdict.last(push) == verdict.deployed(node)
    assert [row['state'] for row in log(repository)] == ['succeeded'] * 2


def test_an_old_client_gets_its_output_at_the_end(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit()
    old = ['--config', 'devel.legacy.exchange=bundle1']
    with world.hgweb([repository]) as url:
        push = ready.push(f'{url}/{repository.path.name}', *old)
    assert b'blog| deployed' in push.remote
    assert len(world.deploys()) == 1


def test_a_push_that_is_rejected_delegates_nothing(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world) + '[hooks]\npretxnclose.no = false\n')
    ready.commit()
    with world.hgweb([repository]) as url:
        target = f'{url}/{repository.path.name}'
        push = ready.push(target, check=False)
        assert push.returncode == 255
        assert not world.deploys()
        repository.hgrc(targets(world))
        assert b'blog| deployed' in ready.push(target).remote


def test_proxies_are_told_to_let_each_line_through(
    world: World, repository: Repository, ready: Clone
) -> None:
    # hg's own client does not show the headers of a reply
    bundle = bundle2.bundle20(uimod.ui())
    bundle.newpart(b'replycaps', data=b'')
    with world.hgweb([repository]) as url:
        page = f'{url}/{repository.path.name}?cmd=unbundle'
        request = urllib.request.Request(
            page,
            data=b''.join(bundle.getchunks()),
            headers={
                'Content-Type': 'application/mercurial-0.1',
                'X-HgArg-1': 'heads=666f726365',
            },
        )
        with urllib.request.urlopen(request) as reply:
            assert reply.headers['X-Accel-Buffering'] == 'no'
            assert reply.headers['Cache-Control'] == 'no-transform'


def test_without_wait_the_reply_is_complete_at_once(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    world.forced_command('. ./record\n. ./hold\necho done\n')
    ready.commit()
    with world.hgweb([repository]) as url:
        push = ready.push(f'{url}/{repository.path.name}')
        assert verdict.last(push) == verdict.handed_over(1)
        world.deploy.write('go', '')
        while log(repository)[0]['state'] != 'succeeded':
            pass


@pytest.mark.once
def test_who_goes_away_while_he_waits_is_delegated_all_the_same(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command('. ./record\necho begun\n. ./hold\n')
    ready.commit()
    with world.hgweb([repository]) as url:
        page = f'{url}/{repository.path.name}'
        first = ready.start_push()
        first.wait_for(b'blog| begun')
        other = world.clone(repository)
        node = other.commit()
        second = other.start_push(page)
        second.wait_for(b'waiting for delegation 1')
        second.kill()
        # the server learns of it when it next sends, and cleans up later
        for _ in range(100):
            urllib.request.urlopen(f'{page}/log').read()
        world.deploy.write('go', '')
        first.finish()
        until(lambda: log(repository)[0]['state'] == 'succeeded')
    assert log(repository)[0]['node'] == node


@pytest.mark.once
def test_a_reply_comes_to_its_end_whatever_is_wrong_with_the_journal(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world, more='keep = 1\n'))
    world.forced_command('. ./record\necho begun\n. ./hold\n')
    with world.hgweb([repository]) as url:
        page = f'{url}/{repository.path.name}'
        world.deploy.write('go', '')
        for _ in range(2):
            ready.commit()
            ready.push(page)
        (world.deploy.home / 'go').unlink()
        ready.commit()
        push = ready.start_push(page)
        push.wait_for(b'blog| begun')
        path = repository.path / '.hg' / 'delegate' / 'journal'
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute('BEGIN IMMEDIATE')
            world.deploy.write('go', '')
            done = push.finish()
            other.rollback()
    # what was deployed could not be recorded
    assert (
        b'delegate: blog: running: the process that runs it cannot be seen'
        in (done.remote)
    )
