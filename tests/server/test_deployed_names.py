"""deployed/TARGET is a name for what a target has, wherever a revision is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from by_hand import check
from hgrc import PUSHVARS, targets
from repositories import Clone, Repository
from world import World

STRIP = ('--config', 'extensions.strip=')
AUDIT = """\
import sys

def heard(event, args):
    if event == 'open' and 'delegate' in str(args[0]):
        path = args[0].decode() if isinstance(args[0], bytes) else args[0]
        sys.stderr.write('opened %s\\n' % (path,))

sys.addaudithook(heard)
"""


def ask(repository: Repository, revset: str, template: str = '{node}') -> str:
    """What the server's own hg says of REVSET."""
    found = repository.hg('log', '-r', revset, '-T', template)
    return found.stdout.decode()


def file_of(repository: Repository) -> str:
    return str(repository.path / '.hg/store/delegate-deployed')


@contextlib.contextmanager
def urls(world: World, repository: Repository) -> Iterator[list[str]]:
    with world.hgweb([repository]) as url:
        yield [repository.url, f'{url}/{repository.path.name}']


def test_the_name_is_there_for_the_server_and_for_a_stock_client(
    world: World, repository: Repository, ready: Clone
) -> None:
    old = ready.commit()
    ready.push()
    with urls(world, repository) as ways:
        for way in ways:
            said = ready.hg('id', '--id', '-r', 'deployed/blog', way)
            assert said.stdout.decode().strip() == old[:12]
            listed = ready.hg('debugpushkey', way, 'deployed').stdout
            assert listed.decode() == f'blog\t{old}\n'
            ready.hg('pull', '-r', 'deployed/blog', way)
            wrong = ready.hg('id', '-r', 'deployed/nix', way, check=False)
            assert wrong.returncode == 255
            # nobody else writes it
            args = ('debugpushkey', way, 'deployed', 'blog', old, '0' * 40)
            assert ready.hg(*args, check=False).returncode
    assert b'deployed:    deployed/blog\n' in repository.hg('log').stdout
    world.forced_command("cat >/dev/null; exit 3\n")
    new = ready.commit()
    ready.push()
    assert ask(repository, 'only(default, deployed/blog)') == new
    world.forced_command()
    ready.commit()
    ready.push()
    assert ask(repository, 'only(default, deployed/blog)') == ''
    repository.hg('delegate', '-r', old)
    assert ask(repository, 'deployed/blog') == old
    assert ask(repository, old, '{deployed % "<{deployed}>"}') == (
        '<deployed/blog>'
    )
    # a clone has none
    assert b'deployed' not in ready.hg('log').stdout


def test_the_revset_takes_a_target_and_patterns(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world, 'blog', 'docs', 'shop') + PUSHVARS)
    both = ready.commit()
    ready.push('--pushvars', 'DELEGATE=only:blog,docs')
    for revset in (
        'deployed()', 'deployed(blog)', 'deployed("re:^[bd]")',
        'deployed("literal:docs")',
    ):  # fmt: skip
        assert ask(repository, revset) == both
    assert ask(repository, 'deployed(shop)') == ''
    assert ask(repository, 'deployed("re:^x")') == ''
    listed = ask(repository, 'tip', '{join(deployed, ",")}')
    assert listed == 'deployed/blog,deployed/docs'
    for wrong, words in (
        ('deployed(nix)', b"abort: there is no target 'nix'"),
        ('deployed(a, b)', b'deployed takes one argument or none'),
        ('deployed(1 + 2)', b'deployed requires the name of a target'),
        ('deployed(my-site)', b'is quoted: deployed("my-site")'),
    ):
        said = repository.hg('log', '-r', wrong, check=False)
        assert words in said.stderr
    # of a target that is not configured any more nothing is shown
    repository.hgrc(targets(world, 'docs'))
    assert ask(repository, 'tip', '{deployed}') == 'deployed/docs'
    assert repository.hg('id', '-r', 'deployed/blog', check=False).returncode


def test_what_is_stripped_or_hidden_has_no_name(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit()
    ready.push()
    gone = ready.commit()
    ready.push()
    evolution = ('--config', 'experimental.evolution=all')
    repository.hg('phase', '--force', '--draft', gone)
    repository.hg('update', '-q', 'null')
    repository.hg('debugobsolete', gone, *evolution)
    for hidden in ((), STRIP):
        if hidden:
            repository.hg('strip', '--hidden', '--no-backup', gone, *STRIP)
        assert b'deployed' not in repository.hg('log').stdout
        assert not ask(repository, 'deployed()')
        said = repository.hg('log', '-r', 'deployed/blog', check=False)
        assert b'abort: unknown revision' in said.stderr
        listed = ready.hg('debugpushkey', repository.url, 'deployed')
        assert b'blog' not in listed.stdout


def test_a_bookmark_of_that_name_is_meant_before_it_and_a_share_has_it(
    world: World, repository: Repository, ready: Clone
) -> None:
    first = ready.commit()
    second = ready.commit()
    ready.push()
    share = f'{repository.path}-share'
    extended = ('--config', 'extensions.share=')
    repository.hg('share', '-U', str(repository.path), share, *extended)
    there = [*repository.program, '-R', share, 'id', '-r', 'deployed/blog']
    enabled = ['--config', 'extensions.hgext_delegate=', '--debug', '--id']
    said = repository.owner.run([*there, *enabled]).stdout
    assert said.decode().strip() == second
    repository.hg('bookmark', '-r', first, 'deployed/blog')
    assert ask(repository, 'deployed/blog') == first
    assert ask(repository, 'deployed(blog)') == second


def test_a_file_that_is_gone_or_another_is_written_again(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit()
    ready.push()
    path = file_of(repository)
    text = world.server.read(path)
    first, rest = text.split('\n', 1)
    assert first == 'written by hg-delegate, this is no hgrc'
    mode = os.stat(path).st_mode & 0o777
    assert mode == os.stat(os.path.dirname(path)).st_mode & 0o666
    owner = repository.owner
    for damage in (
        'rm {0}', 'echo blog 12 > {0}', 'printf "\\0x\\n[hooks]\\n" > {0}',
        'rm {0}; ln -s /etc/passwd {0}', 'rm {0}; mkfifo {0}',
        'chmod 0 {0}', 'rm -f {0}; mkdir {0}', 'rmdir {0}; touch {0}.new',
    ):  # fmt: skip
        owner.run(['/bin/sh', '-c', damage.format(path)])
        assert b'deployed' not in repository.hg('log').stdout
        node = ready.commit()
        push = ready.push()
        assert b'blog| deployed' in push.remote
        if damage.endswith('mkdir {0}'):
            # which only a person may move away
            found, _status = check(repository)
            said = [
                f['message'] for f in found if 'is a folder' in f['message']
            ]
            assert said == [f'{path} is a folder: no deployed name is kept']
        else:
            assert ask(repository, 'deployed/blog') == node
            assert world.server.read(path) == f'{first}\nblog {node}\n'
    assert rest


@pytest.mark.once
def test_a_command_without_names_opens_nothing(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit()
    ready.push()
    audit = world.server.write('audit.py', AUDIT)
    spy = ('--config', f'extensions.audit={audit}')
    opened = b'opened ' + os.fsencode(file_of(repository))
    for args in (['status'], ['root'], ['cat', '-r', '0', 'nix']):
        said = repository.hg(*spy, *args, check=False).stderr
        assert b'.hg/delegate' not in said and opened not in said
    said = repository.hg(*spy, 'log').stderr
    assert said.count(opened) == 1 and b'.hg/delegate/' not in said
