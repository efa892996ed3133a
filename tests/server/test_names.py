"""Whatever a pusher names something: it is data, valid, and bounded."""

from __future__ import annotations

import pushes
import pytest
from hgrc import targets
from repositories import Clone, Repository
from world import World


@pytest.mark.parametrize('encoding', ['ascii', 'UTF-8', 'ISO-8859-15'])
def test_names_are_data_whatever_they_hold(
    world: World, ready: Clone, encoding: str
) -> None:
    pushes.serve(world, f'HGENCODING={encoding}')
    names = ['it\'s "a" $(touch oops) `id`; #&|<>*?\\', 'a b', 'Zoë €', '日本']
    for name in names:
        ready.hg('branch', '-q', name)
        node = ready.commit()
    bookmarks = ['a $(touch oops) "b"', "it's; `touch oops`"]
    ready.hg('bookmark', '-i', *bookmarks)
    ready.push('--new-branch', '-B', bookmarks[0], '-B', bookmarks[1])
    push = pushes.told_push(world)
    assert push['heads'] == [
        {
            'node': node,
            'branch': names[-1],
            'bookmarks': bookmarks,
            'closed': False,
        }
    ]
    assert push['bookmarks'] == {name: [None, node] for name in bookmarks}
    assert not any('oops' in path.name for path in world.deploy.home.iterdir())


@pytest.mark.parametrize('encoding', ['ascii', 'UTF-8', 'ISO-8859-15'])
def test_branches_of_any_bytes_are_told_as_text(
    world: World, ready: Clone, encoding: str
) -> None:
    pushes.serve(world, f'HGENCODING={encoding}')
    names = {
        b'new\nline\r\n': 'new\nline\r\n',
        b'-R$(id)\0"': '-R$(id)\0"',
        b'\x1b[31mred': '\x1b[31mred',
        b'latin \xe9\xff': 'latin éÿ',
        b'\xed\xa0\x80': 'í\xa0\x80',  # a surrogate is no UTF-8
        'Zoë\u2028'.encode(): 'Zoë\u2028',
    }
    pushes.crafted_commits(world, ready, *names)
    ready.push('-f', '--new-branch')
    push = pushes.told_push(world)
    assert [head['branch'] for head in push['heads']] == [*names.values()][::-1]


def test_bookmarks_of_any_bytes_are_told_as_text(
    world: World, ready: Clone
) -> None:
    pushes.serve(world, 'HGENCODING=UTF-8')
    names = {
        b'-R$(id)\0\x1b"': '-R$(id)\0\x1b"',
        'Zoë €'.encode(): 'Zoë €',
        b'new\nline': 'new\nline',
    }
    node, _ = pushes.pushed_bookmarks(world, ready, *names)
    push = pushes.told_push(world)
    expected = {name: [None, node] for name in names.values()}
    assert push['bookmarks'] == expected
    assert push['heads'][0]['bookmarks'] == sorted(names.values())


def test_bookmarks_are_read_in_the_encoding_of_the_server(
    world: World, repository: Repository, ready: Clone
) -> None:
    pushes.serve(world, 'HGENCODING=ISO-8859-15')
    node, _ = pushes.pushed_bookmarks(world, ready, b'\xa4 \xe9')
    assert pushes.told_push(world)['bookmarks'] == {'€ é': [None, node]}
    shown = repository.hg('bookmarks', '-T', '{bookmark}').stdout
    assert shown.decode() == '€ é'


@pytest.mark.parametrize('enabled', [True, False])
def test_mercurial_itself_refuses_a_bookmark_that_it_cannot_read(
    world: World, enabled: bool
) -> None:
    pushes.serve(world, 'HGENCODING=ascii')
    repository = world.repository(hgrc=targets(world), enable=enabled)
    clone = world.clone(repository)
    _, push = pushes.pushed_bookmarks(world, clone, 'Zoë'.encode(), check=False)
    assert push.returncode == 255
    assert b"'ascii' codec can't decode" in push.remote[-1]
    assert not world.deploys()


def test_variables_come_along_where_the_server_takes_them(
    world: World, repository: Repository, ready: Clone
) -> None:
    variables = {'A': 'b', 'EMPTY': '', 'Q': '"$(id)"\n', 'ZOË': 'é €'}
    args = []
    for name, value in variables.items():
        args += ['--pushvars', f'{name}={value}']
    ready.commit()
    ready.push(*args)
    assert pushes.told_push(world)['variables'] == {}
    repository.hgrc(targets(world) + '[push]\npushvars.server = yes\n')
    ready.commit()
    ready.push(*args)
    assert pushes.told_push(world)['variables'] == variables
    environment = world.deploys()[-1].environment
    assert not [name for name in environment if 'USERVAR' in name]


@pytest.mark.once
def test_a_very_large_push_is_told_in_a_bounded_object(
    world: World, ready: Clone
) -> None:
    pushes.serve(world, 'HGENCODING=UTF-8')
    heads, bookmarks = 3000, 2000
    pushes.crafted_commits(
        world, ready, *(b'%d ' % n + b'\xff' * 2000 for n in range(heads))
    )
    ready.hg('update', '-q', 'tip')
    names = [b'%04d ' % number + b'x' * 2000 for number in range(bookmarks)]
    pushes.pushed_bookmarks(world, ready, *names)
    assert len(world.deploys()[-1].input) < 70_000
    push = pushes.told_push(world)
    assert push['changesets'] == heads + 1
    assert push['omitted']['heads'] == heads - len(push['heads'])
    assert push['omitted']['bookmarks'] == bookmarks - len(push['bookmarks'])
    assert len(push['heads']) > 1 and len(push['bookmarks']) > 1
