"""Bookmarks and phases delegate as changesets do, and a pusher may decline."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import verdict
from delegations import log, states
from deploys import nodes
from hgrc import PUSHVARS, targets, unreachable
from repositories import Clone, Push, Repository
from world import World

DRAFTS = '[phases]\npublish = no\n'
EVOLUTION = DRAFTS + '[experimental]\nevolution = all\n'


def sites(world: World, trigger: str, *more: str) -> str:
    lines = [f'blog:{option}\n' for option in (f'trigger = {trigger}', *more)]
    return targets(world, more=''.join(lines))


def ours(push: Push) -> list[bytes]:
    return [line for line in push.remote if b'delegate' in line]


def evolve(clone: Clone) -> None:
    with open(clone.path / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(EVOLUTION)


@pytest.fixture(name='shared')
def with_a_bookmark(repository: Repository, clone: Clone) -> Clone:
    """A clone whose two changesets are pushed; 'live' is at the first."""
    clone.commit()
    clone.hg('bookmark', '-i', 'live')
    clone.commit()
    clone.hg('bookmark', '-f', '-i', '-r', '.^', 'live')
    clone.deliver('live')
    return clone


def node(clone: Clone, revision: str) -> str:
    return clone.hg('log', '-r', revision, '-T', '{node}').stdout.decode()


def move(clone: Clone, bookmark: str, revision: str) -> str:
    """Move BOOKMARK to REVISION, and the node of that."""
    clone.hg('bookmark', '-f', '-i', '-r', revision, bookmark)
    return node(clone, revision)


def told(world: World) -> Any:
    """What the newest deploy was told of its one push."""
    (push,) = world.deploys()[-1].context['pushes']
    return push


@pytest.mark.parametrize('way', ['ssh', 'http'])
def test_a_push_of_a_bookmark_alone_delegates(
    world: World, repository: Repository, shared: Clone, way: str
) -> None:
    repository.hgrc(sites(world, 'bookmark', 'when = bookmark(live)'))
    old, new = node(shared, 'live'), move(shared, 'live', 'tip')
    with contextlib.ExitStack() as stack:
        url = repository.url
        if way == 'http':
            served = world.hgweb([repository])
            url = f'{stack.enter_context(served)}/{repository.path.name}'
        push = shared.push(url, '-B', 'live', check=False)
    assert push.returncode == 1  # as ever, without changesets
    assert verdict.read(ours(push)[-1]) == verdict.deployed(new)
    assert b'blog| deployed' in push.remote
    assert nodes(world) == [new]
    assert told(world)['node'] is told(world)['node_last'] is None
    assert told(world)['changesets'] == 0
    assert told(world)['bookmarks'] == {'live': [old, new]}


def test_a_push_of_a_bookmark_by_path_delegates(
    world: World, repository: Repository
) -> None:
    path = world.server.home / 'by-path'
    world.server.run([*world.hg, 'init', str(path)])
    clone = Clone(world.server, path, world.hg)
    new = clone.commit('--config', 'ui.username=alice')
    clone.push(str(repository.path))
    repository.hgrc(sites(world, 'bookmark'))
    clone.hg('bookmark', 'live')
    clone.push(str(repository.path), '-B', 'live', check=False)
    assert nodes(world) == [new]


def test_a_bookmark_and_its_changesets_are_one_delegation(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(
        sites(world, 'changegroup bookmark phase')
        + '[hooks]\nchangegroup.classic = python:hgext_delegate.hook\n'
    )
    new = shared.commit()
    move(shared, 'live', new)
    push = shared.push('-B', 'live')
    assert nodes(world) == [new]
    assert states(repository) == ['succeeded']
    assert verdict.among(push.remote) == [verdict.deployed(new)]
    assert told(world)['bookmarks']['live'][1] == told(world)['node'] == new


@pytest.mark.once
@pytest.mark.parametrize(
    'option', ['trigger = changegroup', 'trigger = phase', 'wait = yes']
)
def test_a_bookmark_is_nothing_to_other_triggers(
    world: World, repository: Repository, shared: Clone, option: str
) -> None:
    repository.hgrc(targets(world, more=f'blog:{option}\n'))
    move(shared, 'live', 'tip')
    assert not ours(shared.push('-B', 'live', check=False))
    assert not world.deploys()
    assert not (repository.path / '.hg' / 'delegate').exists()


def test_changesets_are_nothing_to_a_bookmark_trigger(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark'))
    shared.commit()
    assert not ours(shared.push())
    assert not world.deploys()


def test_only_a_matching_bookmark_counts(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark', 'when = bookmark(live)'))
    shared.hg('bookmark', '-i', '-r', 'tip', 'other')
    assert not ours(shared.push('-B', 'other', check=False))
    assert not world.deploys()
    assert log(repository) == []


def test_a_bookmark_that_is_deleted_deploys_nothing(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark'))
    shared.hg('bookmark', '-d', 'live')
    shared.push('-B', 'live', check=False)
    assert not world.deploys()


def test_a_bookmark_that_moves_back_goes_back_to_nothing(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark'))
    new = move(shared, 'live', 'tip')
    shared.push('-B', 'live', check=False)
    move(shared, 'live', 'tip^')
    (said,) = ours(shared.push('-B', 'live', check=False))
    assert verdict.read(said) == verdict.superseded(new)
    assert nodes(world) == [new]


def test_what_is_deployed_is_deployed_again_when_its_bookmark_comes(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(sites(world, 'changegroup, bookmark'))
    new = clone.commit()
    clone.push()
    clone.hg('bookmark', '-i', 'live')
    clone.push('-B', 'live', check=False)
    assert nodes(world) == [new, new]


@pytest.mark.once
def test_hundreds_of_bookmarks_are_looked_at_each(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark', 'when = bookmark(live)'))
    new = clone.commit()
    clone.commit()
    clone.hg('bookmark', '-i', '-r', new, 'live')
    clone.hg('bookmark', '-i', *(f'a{number}' for number in range(300)))
    marks = [f'a{number}' for number in range(300)]
    clone.push(*(word for name in (*marks, 'live') for word in ('-B', name)))
    assert nodes(world) == [new]


def test_a_bookmark_that_cannot_be_delegated_waits(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(unreachable(world, 'trigger = bookmark', 'retries = 0'))
    new = move(shared, 'live', 'tip')
    shared.push('-B', 'live', check=False)
    assert states(repository) == ['pending']
    repository.hgrc(sites(world, 'bookmark'))
    repository.hg('delegate', '--pending')
    assert nodes(world) == [new]
    assert told(world)['bookmarks']['live'][1] == new


def test_by_hand_the_newest_that_the_trigger_is_for_is_delegated(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark'))
    repository.hg('delegate')
    assert nodes(world) == [node(shared, 'live')]


@pytest.fixture(name='draft')
def with_drafts(repository: Repository, clone: Clone) -> Clone:
    """A clone whose two changesets are pushed to where they stay drafts."""
    repository.hgrc(DRAFTS)
    clone.commit()
    clone.commit()
    clone.deliver(draft=True)
    return clone


def test_what_becomes_public_is_delegated(
    world: World, repository: Repository, draft: Clone
) -> None:
    repository.hgrc(sites(world, 'phase') + DRAFTS)
    new = draft.commit()
    assert not ours(draft.push())
    draft.hg('phase', '--public', '-r', 'tip^')
    push = draft.push(check=False)
    assert verdict.read(ours(push)[-1]) == verdict.deployed(node(draft, 'tip^'))
    assert told(world)['phases'] == 2
    draft.hg('phase', '--public', '-r', new)
    draft.push(check=False)
    assert nodes(world) == [node(draft, 'tip^'), new]


def test_only_what_matches_and_becomes_public_is_delegated(
    world: World, repository: Repository, draft: Clone
) -> None:
    when = "when = file('path:docs')"
    repository.hgrc(sites(world, 'phase', when) + DRAFTS)
    new = draft.commit(files={'docs/page': 'text'})
    draft.commit()
    draft.hg('phase', '--public', '-r', 'tip^^')
    assert not ours(draft.push(check=False))
    draft.hg('phase', '--public', '-r', 'tip')
    draft.push(check=False)
    assert nodes(world) == [new]


def test_what_is_public_when_it_comes_has_become_public(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(sites(world, 'phase'))
    new = clone.commit()
    clone.push()
    assert nodes(world) == [new]


@pytest.mark.once
def test_a_pusher_may_skip_all_targets(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(
        targets(world)
        + PUSHVARS
        + '[hooks]\nchangegroup.classic = python:hgext_delegate.hook\n'
    )
    clone.commit()
    push = clone.push('--pushvars', 'DELEGATE=skip')
    assert ours(push) == [b'delegate: not delegated: DELEGATE=skip']
    assert not world.deploys()
    new = clone.commit()
    clone.push()
    assert nodes(world) == [new]
    assert told(world)['node'] == new


@pytest.mark.parametrize('hooks', ['our own', 'the classic line'])
def test_a_pusher_may_choose_targets(
    world: World, repository: Repository, clone: Clone, hooks: str
) -> None:
    config = targets(world, 'blog', 'docs', 'site') + PUSHVARS
    repository.hgrc(config)
    if hooks != 'our own':
        config += '[hooks]\nchangegroup.x = python:hgext_delegate.hook\n'
        config += '[extensions]\nhgext_delegate = !\n'
        repository.hgrc(config)
    clone.commit()
    push = clone.push('--pushvars', 'DELEGATE=only:docs,site')
    ends = [end.target for end in verdict.among(push.remote)]
    assert sorted(ends) == ['docs', 'site']
    ran = {deploy.context['target'] for deploy in world.deploys()}
    assert ran == {'docs', 'site'}
    assert told(world)['variables'] == {'DELEGATE': 'only:docs,site'}


@pytest.mark.once
@pytest.mark.parametrize(
    'wish', ['only:blgo', 'only:', 'only', 'no', 'only:blog,blgo', '']
)
def test_a_wish_that_cannot_be_followed_is_refused_with_the_push(
    world: World, repository: Repository, clone: Clone, wish: str
) -> None:
    repository.hgrc(targets(world) + PUSHVARS)
    clone.commit()
    push = clone.push('--pushvars', f'DELEGATE={wish}', check=False)
    assert push.returncode == 255
    said = b'\n'.join(push.remote)
    assert f'DELEGATE={wish} is not understood'.encode() in said
    assert b'(use skip, or only: and some of blog)' in said
    assert not world.deploys()
    assert repository.hg('log').stdout == b''


@pytest.mark.parametrize('way', ['ssh', 'http'])
def test_a_wish_is_nothing_where_the_server_takes_none_which_is_said(
    world: World, repository: Repository, clone: Clone, way: str
) -> None:
    repository.hgrc(targets(world))
    new = clone.commit()
    with contextlib.ExitStack() as stack:
        url = repository.url
        if way == 'http':
            served = world.hgweb([repository])
            url = f'{stack.enter_context(served)}/{repository.path.name}'
        push = clone.push(url, '--pushvars', 'DELEGATE=skip')
        assert any(b'DELEGATE is ignored' in line for line in push.remote)
        clone.commit()
        push = clone.push(url, '--pushvars', 'OTHER=skip')
        assert not any(b'not heard' in line for line in push.remote)
    assert nodes(world)[0] == new


@pytest.mark.once
@pytest.mark.parametrize('word', ['bookmarks', 'push', 'Changegroup'])
def test_a_push_waits_for_a_trigger_that_is_set_wrongly(
    world: World, repository: Repository, clone: Clone, word: str
) -> None:
    repository.hgrc(targets(world, more=f'blog:trigger = {word}\n'))
    node = clone.commit()
    said = b'\n'.join(clone.push().remote)
    assert f"'{word}' is not a list of triggers".encode() in said
    listed = repository.hg('delegate-log').stdout
    assert b' pending ' in listed and b'its target is wrong' in listed
    repository.hgrc(targets(world))
    repository.hg('delegate', '--pending')
    assert nodes(world) == [node]


@pytest.mark.once
def test_a_push_waits_for_a_trigger_that_the_host_refuses(
    world: World, repository: Repository, clone: Clone
) -> None:
    world.server.write('.hgrc', '[delegate]\nallow-repository-config = when\n')
    repository.hgrc(sites(world, 'bookmark'))
    node = clone.commit()
    said = b'\n'.join(clone.push().remote)
    assert b"'trigger' is not for a repository's hgrc" in said
    repository.hgrc(targets(world))
    repository.hg('delegate', '--pending')
    assert nodes(world) == [node]


def test_a_bookmark_at_what_is_not_there_delegates_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    evolve(clone)
    repository.hgrc(targets(world) + EVOLUTION)
    first = clone.commit()
    clone.push()
    pruned = clone.commit()
    clone.hg('bookmark', '-i', 'keep')
    clone.hg('update', '-q', first)
    clone.hg('debugobsolete', pruned)
    # hg pushes the bookmark, and not the changeset that it is at
    push = clone.push('-f', '-r', pruned, '-B', 'keep', check=False)
    assert push.returncode == 1
    assert nodes(world) == [first]


def test_a_bookmark_at_no_changeset_delegates_nothing(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'bookmark'))
    shared.hg('bookmark', '-f', '-i', '-r', 'null', 'none')
    shared.push('-B', 'none', check=False)
    assert not world.deploys()
    repository.hg('delegate')
    assert nodes(world) == [node(shared, 'live')]


def test_what_is_hidden_before_its_turn_is_not_deployed(
    world: World, repository: Repository, clone: Clone
) -> None:
    evolve(clone)
    repository.hgrc(unreachable(world, 'retries = 0') + EVOLUTION)
    kept = clone.commit()
    clone.push()
    pruned = clone.commit()
    clone.push()
    clone.hg('update', '-q', kept)
    clone.hg('debugobsolete', '--record-parents', pruned)
    clone.push(check=False)
    repository.hgrc(targets(world) + EVOLUTION)
    said = repository.hg('delegate', '--pending', check=False)
    assert verdict.deployed(kept) in verdict.among(said.stdout)
    assert nodes(world) == [kept]
    cancelled = repository.hg('delegate-log', '-v', '2').stdout
    assert b'cancelled' in cancelled and b'is hidden by now' in cancelled


@pytest.mark.once
@pytest.mark.parametrize('line', ['blog:triger = bookmark', 'blog:trigger ='])
def test_a_bookmark_waits_for_a_trigger_that_is_misspelt(
    world: World, repository: Repository, shared: Clone, line: str
) -> None:
    repository.hgrc(targets(world, more=f'{line}\n'))
    new = move(shared, 'live', 'tip')
    push = shared.push('-B', 'live', check=False)
    assert any(b'delegate: blog:trig' in said for said in push.remote)
    repository.hgrc(sites(world, 'bookmark'))
    repository.hg('delegate', '--pending')
    assert nodes(world) == [new]


def test_going_back_by_hand_settles_what_no_hook_has_seen(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    first = clone.commit()
    clone.push()
    repository.hgrc(sites(world, 'changegruop'))
    clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    repository.hg('delegate', 'blog', '-r', first)
    repository.hg('delegate', '--pending')
    assert nodes(world) == [first, first]


@pytest.mark.parametrize('way', ['ssh', 'http'])
def test_a_tag_that_is_pushed_after_its_changeset_delegates(
    world: World, repository: Repository, shared: Clone, way: str
) -> None:
    repository.hgrc(sites(world, 'tag', r"when = tag(r're:^v\d')"))
    new = node(shared, 'tip')
    shared.hg('tag', '-r', new, 'v1')
    with contextlib.ExitStack() as stack:
        url = repository.url
        if way == 'http':
            served = world.hgweb([repository])
            url = f'{stack.enter_context(served)}/{repository.path.name}'
        push = shared.push(url)
    assert verdict.among(push.remote) == [verdict.deployed(new)]
    assert nodes(world) == [new]
    assert told(world)['changesets'] == 1


def test_a_tag_that_moves_deploys_what_it_names_now(
    world: World, repository: Repository, shared: Clone
) -> None:
    first, last = node(shared, '0'), node(shared, '1')
    shared.hg('tag', '-r', first, 'release')
    shared.deliver()
    repository.hgrc(sites(world, 'tag'))
    shared.hg('tag', '-f', '-r', last, 'release')
    shared.push()
    assert nodes(world) == [last]
    repository.hg('delegate')
    assert nodes(world) == [last, last]


def test_only_a_matching_tag_counts_and_no_changeset_without(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'tag', "when = tag('re:^v')"))
    shared.commit()
    shared.hg('tag', 'v1')
    shared.deliver()
    shared.hg('tag', '-r', '0', 'other')
    assert not ours(shared.push())
    shared.hg('tag', '--remove', 'v1')
    assert not ours(shared.push())
    shared.commit(files={'.hgtags': 'neither node nor name\n\0\n'})
    assert not ours(shared.push())
    assert log(repository) == []


def test_a_tag_comes_once_though_each_head_has_it(
    world: World, repository: Repository, shared: Clone
) -> None:
    shared.hg('tag', '-r', '0', 'v1')
    shared.deliver()
    repository.hgrc(sites(world, 'tag'))
    for branch in ('one', 'two'):
        shared.hg('update', '-q', '-r', 'branch(default) and head()')
        shared.hg('branch', '-f', branch)
        shared.commit()
    assert not ours(shared.push('--new-branch'))
    assert log(repository) == []


@pytest.mark.once
def test_a_changeset_and_its_tag_are_one_delegation(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'changegroup tag', 'when = tag()'))
    new = shared.commit()
    shared.hg('tag', 'v1')
    push = shared.push()
    assert verdict.among(push.remote) == [verdict.deployed(new)]
    assert nodes(world) == [new]


@pytest.mark.once
def test_a_pusher_may_skip_a_tag(
    world: World, repository: Repository, shared: Clone
) -> None:
    repository.hgrc(sites(world, 'tag') + PUSHVARS)
    shared.hg('tag', '-r', '0', 'v1')
    push = shared.push('--pushvars', 'DELEGATE=skip')
    assert ours(push) == [b'delegate: not delegated: DELEGATE=skip']
    assert not world.deploys()
