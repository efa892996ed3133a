"""hg delegate: again, another changeset, what is pending, or only a look."""

from __future__ import annotations

import sqlite3

import pytest
import verdict
from by_hand import refused, start
from delegations import log, states
from deploys import commands
from hgrc import targets
from pages import get, publish
from repositories import Clone, Repository
from world import HELD, World


def pushed_branches(world: World, repository: Repository, clone: Clone) -> str:
    """Push two branches, of which the target is for the older one: its node."""
    repository.hgrc(targets(world, more='blog:when = branch(default)\n'))
    node = clone.commit()
    clone.hg('branch', 'other')
    clone.commit()
    clone.push('--new-branch')
    return node


def test_the_newest_changeset_that_matches_is_delegated_again(
    world: World, repository: Repository, clone: Clone
) -> None:
    node = pushed_branches(world, repository, clone)
    said = repository.hg('delegate', 'blog').stdout.splitlines()
    assert said[0] == b'blog| deployed'
    assert verdict.read(said[1]) == verdict.deployed(node)
    assert commands(world) == [f'hg-delegate 1 blog {node}'] * 2
    context = world.deploys()[1].context
    assert context['pushes'] == [] and context['previous'] == node
    rows = log(repository)
    assert [row['id'] for row in rows] == [2, 1]
    assert rows[0]['pusher'] == world.server.name
    assert world.deploys()[1].context['id'] == rows[0]['protocolid']


def test_another_changeset_is_delegated_by_any_name(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit(files={'a': '1'})
    clone.hg('branch', 'stable')
    node = clone.commit(files={'b': '1'})
    clone.hg('update', 'default')
    clone.hg('tag', '-r', node, 'v1.0')
    clone.commit(files={'c': '1'})
    clone.deliver()
    repository.ask('update', '-q', node)
    repository.hgrc(targets(world))
    names = [node, node[:12], 'stable', 'v1.0', 'heads(branch(stable))', '.']
    for rev in names:
        repository.hg('delegate', '-r', rev)
    assert commands(world) == [f'hg-delegate 1 blog {node}'] * len(names)


@pytest.mark.once
def test_targets_are_named_or_all_and_each_of_them_once(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    clone.deliver()
    repository.hgrc(targets(world, 'a', 'b', 'c'))
    repository.hg('delegate', 'c', 'a', 'c')
    assert sorted(row['target'] for row in log(repository)) == ['a', 'c']
    repository.hg('delegate')
    assert sorted(row['target'] for row in log(repository)) == [*'aabcc']
    assert len(world.deploys()) == 5


def test_an_unknown_target_is_refused_with_the_known_ones(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world, 'blog', 'docs'))
    said = refused(repository, 'delegate', 'blog', 'dcos')
    assert said == ("abort: there is no target 'dcos'\n(targets: blog, docs)\n")
    repository.hgrc(targets(world, more='blog:whne = all()\n'))
    said = refused(repository, 'delegate', 'blog')
    assert 'delegate: blog:whne in .hg/hgrc:5: no such option\n' in said
    assert "abort: target 'blog' cannot be used as it is configured\n" in said


def test_without_any_target_the_manual_is_named(repository: Repository) -> None:
    said = refused(repository, 'delegate')
    assert said == (
        'abort: no target is configured\n(see \'hg help delegate.config\')\n'
    )
    said = refused(repository, 'delegate', 'blog')
    assert '(targets: none, see [delegate])' in said
    # over all repositories of a host this is no mistake
    done = repository.hg('delegate', '--pending')
    assert done.stdout == b'delegate: no target is configured\n'


def test_where_there_are_only_gates_there_is_nothing_to_delegate(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world, 'lint', more='lint:gate = yes\n'))
    world.forced_command('cat >/dev/null\n')
    for option in ((), ('--dry-run',)):
        assert refused(repository, 'delegate', *option) == (
            'abort: only gates are configured: lint\n'
            '(nothing is delegated to a gate: it is asked at each push)\n'
        )
    assert repository.hg('delegate', '--pending').stdout == b''
    publish(world, 'output')
    ready.commit()
    ready.push()
    with world.hgweb([repository]) as url:
        words = get(f'{url}/{repository.path.name}/delegations').words
    assert words.startswith('Targets lint passed Delegations ')


def test_what_nobody_could_pull_is_not_delegated(
    world: World, repository: Repository, clone: Clone
) -> None:
    public = clone.commit()
    hidden = clone.commit()
    clone.hg('update', '-q', public)
    secret = clone.commit()
    clone.deliver()
    repository.hgrc(
        targets(world) + '[experimental]\nevolution = createmarkers\n'
    )
    repository.ask('phase', '--force', '--draft', '-r', hidden)
    repository.ask('phase', '--force', '--secret', '-r', secret)
    repository.ask('debugobsolete', hidden)
    said = refused(repository, 'delegate', '-r', secret)
    assert f'abort: {secret[:12]} is secret\n' in said
    said = refused(repository, 'delegate', '-r', hidden)
    assert 'hidden revision' in said
    said = refused(repository, 'delegate', '--hidden', '-r', hidden)
    assert f'abort: {hidden[:12]} is hidden\n' in said
    assert not world.deploys()
    repository.hg('delegate')
    assert commands(world) == [f'hg-delegate 1 blog {public}']


def test_what_is_no_changeset_is_refused(
    world: World, repository: Repository, pushed: Clone
) -> None:
    for rev in ('null', 'wdir()', 'none()', 'nosuch'):
        refused(repository, 'delegate', '-r', rev)
        refused(repository, 'delegate', '-r', rev, '--dry-run')
    assert len(world.deploys()) == 1


def test_an_empty_repository_has_nothing_for_a_target(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    done = repository.hg('delegate', check=False)
    assert done.returncode == 1
    assert done.stderr == (
        b'delegate: blog: no changeset of the repository is for it\n'
    )
    assert "abort: 'tip' is not" in refused(repository, 'delegate', '-r', 'tip')
    assert repository.hg('delegate', '--pending').stdout == b''
    assert not world.deploys()


@pytest.mark.once
@pytest.mark.parametrize(
    ('hgrc', 'why'),
    [
        ('bad:command = fail', verdict.beginning('failed', 'bad')),
        (
            'bad = ssh://localhost:1\nbad:retries = 0',
            verdict.beginning('pending', 'bad'),
        ),
        ('bad:when = none()', b'bad: no changeset of the repository is for it'),
        ('bad:when = nosuch()', b'bad:when in .hg/hgrc:6: unknown identifier'),
        ('bad:timeout = long', b"bad:timeout in .hg/hgrc:6: 'long' is not a"),
    ],
)
def test_the_exit_status_is_0_only_if_every_target_succeeded(
    world: World, repository: Repository, pushed: Clone, hgrc: str, why: bytes
) -> None:
    world.forced_command(
        '. ./record\n[ "$SSH_ORIGINAL_COMMAND" != fail ] || exit 3\n'
    )
    node = pushed.tip()
    repository.hgrc(targets(world, 'good', 'bad', more=hgrc + '\n'))
    done = repository.hg('delegate', check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count(b'delegate: bad') == 1
    assert verdict.deployed(node, 'good') in verdict.among(done.stdout)
    repository.hgrc(targets(world, 'good', 'bad'))
    assert repository.hg('delegate').returncode == 0


@pytest.mark.once
def test_what_is_pending_says_itself_which_changeset(
    world: World, repository: Repository, pushed: Clone
) -> None:
    said = refused(repository, 'delegate', '--pending', '-r', '0')
    assert 'cannot specify both --pending and --rev' in said


@pytest.mark.once
def test_it_waits_for_what_runs_and_says_so(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(HELD)
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| begun')
    waiting = start(repository, 'delegate', 'blog')
    said = waiting.wait_for(b'waiting for')
    assert b'delegate: waiting for delegation 1 of ' in said
    assert states(repository) == ['running', 'pending']
    world.deploy.write('go', '')
    assert verdict.last(push.finish()).state == 'deployed'
    lines = [line for _time, line in waiting.finish().lines]
    assert lines[1:3] == [b'blog| begun', b'blog| done']
    assert verdict.read(lines[3]).state == 'deployed'
    first, second = world.deploys()
    assert second.started > (first.ended or second.started)


@pytest.mark.once
def test_a_journal_that_cannot_be_used_is_a_clear_error(
    world: World, repository: Repository, pushed: Clone
) -> None:
    journal = repository.path / '.hg' / 'delegate' / 'journal'
    database = sqlite3.connect(journal, isolation_level=None)
    try:
        database.execute('BEGIN IMMEDIATE')
        said = refused(repository, 'delegate')
    finally:
        database.close()
    assert 'abort: the journal cannot be used: database is locked\n' in said
    assert said.rstrip().splitlines()[-1].startswith('(')
    assert len(world.deploys()) == 1


@pytest.mark.once
@pytest.mark.parametrize('args', [(), ('-r', 'tip'), ('--pending',)])
def test_what_a_killed_push_has_left_is_not_delegated(
    world: World, repository: Repository, ready: Clone, args: tuple[str, ...]
) -> None:
    # The changesets are there, and 'hg recover' will take them back.
    repository.hgrc(targets(world) + '[hooks]\npretxnclose.z = kill -9 $PPID\n')
    ready.commit()
    ready.push(check=False)
    said = refused(repository, 'delegate', *args)
    assert 'abandoned transaction found' in said and 'hg recover' in said
    assert not world.deploys()
