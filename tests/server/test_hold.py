"""hg delegate-hold: what is pushed waits, and its pushers are told."""

from __future__ import annotations

import time

import accounts
import pytest
import verdict
from by_hand import check, cron, refused
from delegations import log, states
from hgrc import targets, unreachable
from repositories import Clone, Repository
from snapshot import contents
from world import BEGUN, World

pytestmark = pytest.mark.once

RELEASE = "'hg delegate-hold --release blog'"


def held_by(world: World) -> str:
    """How a line of today begins that says who holds it."""
    today = time.strftime('%Y-%m-%d', time.gmtime())
    return f'held by {world.server.name} since {today} '


def hold(repository: Repository, *args: str) -> str:
    return repository.hg('delegate-hold', *args).stdout.decode()


def test_pushers_of_what_is_held_are_told_at_once_and_it_waits(
    world: World, repository: Repository, ready: Clone
) -> None:
    first = ready.commit()
    said = hold(repository, 'blog', '-m', 'database migration')
    assert said.startswith(f'delegate: blog: {held_by(world)}')
    assert said.endswith(' UTC: database migration\n')
    # who says no reason takes none away
    again = hold(repository, 'blog').splitlines()
    assert again[0].endswith(' UTC: database migration')
    logins = world.ssh_log().count('Connection from ')
    push = ready.push()
    assert push.returncode == 0
    (line,) = verdict.among(push.remote)
    assert line.state == 'pending'
    assert line.detail.startswith(held_by(world))
    assert line.detail.endswith(' UTC: database migration')
    assert push.remote[-1].decode() == (
        f'(delegated once it is released: {RELEASE})'
    )
    # the pusher's own, and no login to the deploy account
    assert world.ssh_log().count('Connection from ') == logins + 1
    second = ready.commit()
    with world.hgweb([repository]) as url:
        push = ready.push(f'{url}/{repository.path.name}')
    assert [each.state for each in verdict.among(push.remote)] == ['pending']
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    third = ready.commit()
    push = ready.push()
    assert [each.state for each in verdict.among(push.remote)] == ['pending']
    assert world.deploys() == []
    assert [row['node'] for row in log(repository)] == [third, second, first]
    # seen in the log, by templates and in delegate-check
    row = log(repository)[0]
    assert row['heldby'] == world.server.name
    assert row['heldreason'] == 'database migration'
    assert row['reason'].startswith(held_by(world))
    listed = repository.hg('delegate-log').stdout.decode()
    assert listed.startswith(f'blog: {held_by(world)}')
    found, status = check(repository)
    assert status == 0
    (fact,) = [each for each in found if 'held by' in each['message']]
    assert fact['message'].endswith('migration; pushes that wait: 3')
    assert fact['level'] == 'warning' and RELEASE in fact['remedy']

    repository.hgrc(targets(world))
    said = hold(repository, '--release', 'blog')
    assert said.startswith('delegate: blog: released\n')
    assert b'blog| deployed\n' in said.encode()
    assert verdict.among(said.encode()) == [verdict.deployed(third)]
    (deploy,) = world.deploys()
    assert [push['node_last'] for push in deploy.context['pushes']] == [
        first,
        second,
        third,
    ]
    assert states(repository) == ['superseded', 'superseded', 'succeeded']
    assert log(repository)[0]['heldby'] is None
    ready.commit()
    assert verdict.last(ready.push()).state == 'deployed'


def test_what_runs_goes_on_and_who_waits_for_it_is_told(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(BEGUN)
    other = world.clone(repository)
    ready.commit(files={'a': '1'})
    first = ready.start_push()
    first.wait_for(b'blog| begun')
    other.commit(files={'b': '1'})
    second = other.start_push('-f')
    second.wait_for(b'waiting for delegation 1 of ')
    said = hold(repository, 'blog')
    assert "(delegation 1 goes on; 'hg delegate-cancel 1' ends it)" in said
    assert '(pushes that wait for it: 1)' in said
    # it does not wait for the end of the first
    (line,) = verdict.among(second.finish().remote)
    assert line.state == 'pending' and line.detail.endswith(' UTC')
    assert states(repository) == ['running', 'pending']
    world.deploy.write('go', '')
    assert verdict.last(first.finish()).state == 'deployed'
    assert len(world.deploys()) == 1
    hold(repository, '--release', 'blog')
    assert states(repository) == ['succeeded', 'succeeded']


def test_by_hand_what_is_held_is_refused_and_cron_is_silent(
    world: World, repository: Repository, pushed: Clone
) -> None:
    repository.hgrc(targets(world, 'blog', 'docs'))
    hold(repository, 'blog', '-m', 'of one hour')
    said = refused(repository, 'delegate', 'blog', 'docs')
    assert said.startswith(f'abort: blog: not delegated: {held_by(world)}')
    assert said.endswith(f'of one hour\n({RELEASE} lets it go)\n')
    # without a name the others are delegated
    done = repository.hg('delegate', check=False)
    assert done.returncode == 1
    assert f'({RELEASE} lets it go)'.encode() in done.stderr
    assert verdict.among(done.stdout) == [
        verdict.deployed(pushed.tip(), 'docs')
    ]
    before = len(world.deploys())
    pushed.commit()
    pushed.push()
    assert len(world.deploys()) == before + 1  # docs
    done = cron(world, world.server.home / 'repos')
    assert (done.stdout, done.stderr, done.returncode) == (b'', b'', 0)
    done = repository.hg('delegate', '--pending', 'blog', check=False)
    assert done.returncode == 1
    assert verdict.among(done.stderr)[0].state == 'pending'
    assert len(world.deploys()) == before + 1
    # the dry run says it, and what would be sent
    kept = contents(repository.path / '.hg' / 'delegate')
    said = repository.hg('delegate', '-n', 'blog').stdout.decode()
    assert said.startswith(f'blog: {held_by(world)}')
    assert f'({"delegated once it is released"}: {RELEASE})\n' in said
    assert 'blog: would delegate ' in said
    names = {path.name for path in kept}
    assert names >= {'blog.hold'}
    # what waits can be cancelled
    number = next(
        row['id'] for row in log(repository) if row['state'] == 'pending'
    )
    repository.hg('delegate-cancel', str(number))
    said = hold(repository, '--release', 'blog')
    assert said == 'delegate: blog: released\n'


def test_what_cannot_be_held_or_released_is_said(
    world: World, repository: Repository, ready: Clone
) -> None:
    for name in ('other', '*', '../blog', 'keep'):
        said = refused(repository, 'delegate-hold', name)
        assert said == (
            f"abort: there is no target '{name}'\n(targets: blog)\n"
        )
    assert not (repository.path / '.hg' / 'delegate').exists()
    done = repository.hg('delegate-hold', check=False)
    assert b'delegate-hold: invalid arguments' in done.stderr
    said = refused(
        repository, 'delegate-hold', '--release', 'blog', '-m', 'why'
    )
    assert 'cannot specify both --message and --release' in said
    done = repository.hg('delegate-hold', '--release', 'blog', check=False)
    assert (done.returncode, done.stdout) == (1, b'')
    assert done.stderr == (
        b'delegate: blog: nobody holds it\n'
        b"('hg delegate --pending blog' delegates what waits for it)\n"
    )
    # a reason that steers the terminal, is long, and has several lines
    since = hold(repository, 'blog', '-m', 'a\n\x1b[31mb\u202ec' + 'x' * 500)
    assert ' UTC: a ?[31mb?c' in since and 'x\u2026\n' in since
    assert len(since) < 320
    again = hold(repository, 'blog', '-m', 'caf\u00e9')
    now, was = again.splitlines()
    assert now.endswith(': caf\u00e9')
    assert was == f'(it was {since.splitlines()[0].split(": ", 2)[2]})'
    ready.commit()
    assert ': caf\u00e9'.encode() in b''.join(ready.push().remote)
    # a target that is gone from the configuration, or wrong in it
    repository.hgrc('')
    listed = repository.hg('delegate-log').stdout.decode()
    assert listed.startswith('blog: held by ')
    assert hold(repository, '--release', 'blog') == 'delegate: blog: released\n'
    repository.hgrc(targets(world, more='blog:wait = perhaps\n'))
    hold(repository, 'blog')


def test_a_hold_outlives_the_journal_and_counts_where_it_cannot_be_read(
    world: World, repository: Repository, ready: Clone
) -> None:
    hold(repository, 'blog', '-m', 'a migration')
    folder = repository.path / '.hg' / 'delegate'
    world.server.write(folder / 'journal', 'no database' * 1000)
    ready.commit()
    push = ready.push()
    (line,) = verdict.among(push.remote)
    assert line.detail.endswith(': a migration')
    file = folder / 'blog.hold'
    for damage in ('', 'rubbish', '{"who": [], "since": "x"}', '[' * 100000):
        world.server.write(file, damage)
        ready.commit()
        (line,) = verdict.among(ready.push().remote)
        assert line.detail == 'held by an unknown user'
    file.unlink()
    file.symlink_to('/dev/zero')
    ready.commit()
    (line,) = verdict.among(ready.push().remote)
    assert line.detail == 'held by an unknown user'
    assert world.deploys() == []
    hold(repository, '--release', 'blog')
    assert not file.is_symlink() and len(world.deploys()) == 1
    # who holds what cannot be read holds it anew
    file.mkdir()
    said = refused(repository, 'delegate-hold', 'blog')
    assert 'cannot change who holds it: Is a directory' in said
    assert '(move away .hg/delegate/blog.hold)' in said
    file.rmdir()


def test_what_may_have_run_is_not_asked_about_while_it_is_held(
    world: World, repository: Repository, ready: Clone
) -> None:
    """A receiver that has not seen it would run it."""
    repository.hgrc(targets(world, more='blog:receiver = yes\n'))
    hold(repository, 'blog')
    ready.commit()
    ready.push()
    record = (
        'import sys\n'
        'from hgext_delegate.state import journal\n'
        'opened = journal.open(sys.argv[1])\n'
        'opened.note_exec(1)\n'
    )
    path = repository.path / '.hg' / 'delegate' / 'journal'
    world.server.run([world.python, '-c', record, str(path)])
    listed = repository.hg('delegate-log')
    assert b'it may have run' in listed.stdout and not listed.stderr
    assert not [x for x in ready.push(check=False).remote if b'asked' in x]
    assert world.deploys() == []
    hold(repository, '--release', 'blog')
    assert world.deploys()[0].context['id'] == log(repository)[0]['protocolid']


@pytest.mark.skipif(not accounts.ROOT, reason='there is one account alone')
def test_another_account_neither_holds_nor_releases(
    world: World, repository: Repository, ready: Clone
) -> None:
    hold(repository, 'blog')
    command = [*world.hg, '-R', str(repository.path), 'delegate-hold', 'blog']
    for item in (
        f'trusted.users={world.server.name}',
        f'extensions.hgext_delegate={world.extension}',
    ):
        command += ['--config', item]
    for more in ([], ['--release']):
        done = world.pusher.run([*command, *more], check=False)
        assert done.returncode == 255
        assert b'abort: ' in done.stderr and b'Traceback' not in done.stderr
        assert b'ermission denied' in done.stderr
    assert log(repository, '-t', 'blog') == []
    assert 'released' in hold(repository, '--release', 'blog')


def test_a_share_and_a_pause_between_attempts(
    world: World, repository: Repository, ready: Clone
) -> None:
    share = world.server.home / 'repos' / 'share'
    repository.hg('--config', 'extensions.share=', 'share', '-q',
                  str(repository.path), str(share))  # fmt: skip
    repository.hgrc(unreachable(world, 'retries = 5'))
    world.server.write(
        share / '.hg' / 'hgrc', repository.preamble + targets(world)
    )
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'(trying again in 2 s)')
    done = world.server.run([*world.hg, '-R', str(share), 'delegate-hold',
                             'blog', '-m', 'by the share'])  # fmt: skip
    assert b': by the share\n' in done.stdout
    end = push.finish()
    (line,) = verdict.among(end.remote)
    assert line.detail.endswith(': by the share')
    assert log(repository)[0]['attempt'] == 2
    repository.hgrc(targets(world))
    assert 'deployed' in hold(repository, '--release', 'blog')
