"""A repository's own hgrc may say what the host's administrator allows."""

from __future__ import annotations

import os
import re
import time

import pytest
import verdict
from hgrc import host_says, targets
from repositories import Clone, Repository
from world import World


def refused(push) -> list[bytes]:
    return [x for x in push.remote if x.startswith(b'delegate: blog')]


@pytest.mark.once
def test_what_is_allowed_is_delegated(
    world: World, repository: Repository, clone: Clone
) -> None:
    host_says(world, f'allow-targets = ssh://{world.deploy.name}@localhost:*\n')
    repository.hgrc(targets(world, more='blog:when = all()\n'))
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'


@pytest.mark.once
@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('blog = ssh://other@localhost', b"'ssh://other@localhost'"),
        ('blog = ssh://%6fther@localhost', b'ssh://%6fther@localhost'),
        ('blog:identity = /etc/key', b"'identity'"),
        ('blog:command = id', b"'command'"),
        ('blog:timeout = 10h', b"'timeout'"),
        ('blog:output-limit = 1 TB', b"'output-limit'"),
        ('blog:knownhosts = /tmp/known', b"'knownhosts'"),
        ('*:timeout = 10h', b"'timeout'"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(
    world: World, repository: Repository, clone: Clone, line: str, said: bytes
) -> None:
    host_says(world, f'allow-targets = ssh://{world.deploy.name}@localhost:*\n')
    repository.hgrc(targets(world, more=line + '\n'))
    clone.commit()
    push = clone.push()
    assert push.returncode == 0
    item = line.split(' =')[0].encode()
    about = [x for x in push.remote if x.startswith(b'delegate: ' + item)]
    assert len(about) == 1
    assert said in about[0] and b'.hg/hgrc:5' in about[0]
    assert not world.deploys()


@pytest.mark.once
@pytest.mark.parametrize('option', ['hostkey', 'timeout'])
def test_what_the_host_has_set_cannot_be_taken_away(
    world: World, repository: Repository, clone: Clone, option: str
) -> None:
    host_says(
        world,
        'allow-repository-config = retries\n'
        f'blog = ssh://{world.deploy.name}@localhost:{world.port}\n'
        'blog:timeout = 5m\nblog:hostkey = ssh-ed25519 AAAA\n',
    )
    repository.hgrc(f'[delegate]\nblog:retries = 0\n%unset blog:{option}\n')
    clone.commit()
    (line,) = refused(clone.push())
    assert line == (
        b"delegate: blog:%s in .hg/hgrc: '%s' is not for a repository's hgrc"
        % (option.encode(), option.encode())
    )
    assert not world.deploys()


READERS = [
    "file('include:{}')",
    "file('listfile:{}')",
    "file('listfile0:{}')",
    "file('subinclude:{}')",
    "file('set:\\'include:{}\\'')",
    'file("set:\\"\\x69nclude:{}\\"")',
    "file('incl' ## 'ude:{}')",
    "_matchfiles('r:', 'd:relpath', 'p:include:{}')",
    "nodefromfile('{}')",
    "outgoing('{}')",
]


@pytest.mark.once
@pytest.mark.parametrize('when', READERS)
def test_no_revset_of_a_repository_reads_a_file_of_the_host(
    world: World, repository: Repository, clone: Clone, when: str
) -> None:
    secret = world.server.write('secret', 're:(hunter2\n')
    where = f'ssh://{world.deploy.name}@localhost:*'
    host_says(world, f'allow-targets = {where}\n')
    more = f'blog:when = {when.format(secret)} or all()\n'
    repository.hgrc(targets(world, more=more))
    clone.commit()
    (line,) = refused(clone.push())
    assert b"is not for" in line
    assert not world.deploys()
    # the host may, and nobody is told what the file has
    world.server.write('.hgrc', '')
    clone.commit()
    assert b'hunter2' not in b''.join(clone.push().remote)


FOR_EVER = 'desc("re:^(a+)+$")'


@pytest.mark.once
def test_no_revset_of_a_repository_keeps_a_push(
    world: World, repository: Repository, clone: Clone
) -> None:
    """With a limit of 6 s, so that the test does not take 30."""
    short = world.server.write(
        'short.py',
        'import importlib\n'
        'from mercurial import extensions\n'
        'def extsetup(ui):\n'
        '    name = extensions.find(b"hgext_delegate").__name__\n'
        '    name += ".delivery.evaluation"\n'
        '    importlib.import_module(name).LIMIT = 6\n',
    )
    host_says(
        world,
        f'allow-targets = ssh://{world.deploy.name}@localhost:*\n'
        f'[extensions]\nshort = {short}\n'
        '[revsetalias]\nall = none()\nnews = desc("re:news$")\n',
    )
    # what is slow costs 6 s in all; an alias of the repository does not count
    more = (
        f'slow:when = {FOR_EVER}\nslow2:when = {FOR_EVER}\n'
        'own:when = own\nnone:when = (all)(news)\n'
        'plain:when = 0:\nnews:when = news\n'
        '[revsetalias]\nown = all()\nall = news\n'
    )
    names = ('news', 'own', 'none', 'plain', 'slow', 'slow2')
    repository.hgrc(targets(world, *names, more=more))
    node = clone.commit(message='a' * 60 + 'b news')
    began = time.monotonic()
    push = clone.push()
    assert time.monotonic() - began < 60
    assert push.returncode == 0
    said = b'\n'.join(push.remote)
    for name in (b'slow', b'slow2'):
        assert re.search(name + rb':when in \S*: it takes more than 6 s', said)
    assert b'(make it simpler; pushes wait for it meanwhile)' in said
    assert re.search(rb'own:when in \S*: unknown .*own', said)
    assert re.search(rb'none:when in \S*: not a symbol', said)
    commands = {deploy.command for deploy in world.deploys()}
    assert commands == {f'hg-delegate 1 {n} {node}' for n in ('plain', 'news')}
    listed = repository.hg('delegate-log', '-T', '{target} {state}\n').stdout
    assert b'slow pending' in listed and b'slow2 pending' in listed
    # made simpler, what was pushed is delegated
    repository.hgrc(targets(world, 'slow'))
    assert repository.hg('delegate', '--pending').returncode == 0
    assert len(world.deploys()) == 3


def test_the_repositorys_name_can_be_part_of_what_is_allowed(
    world: World,
) -> None:
    name = world.deploy.name
    host_says(world, f'allow-targets = ssh://{name}@{{repository}}:*\n')
    for repository_name, allowed in (('localhost', True), ('b', False)):
        repository = world.repository(repository_name, targets(world))
        clone = world.clone(repository)
        clone.commit()
        push = clone.push()
        assert bool(refused(push)) == (not allowed) or allowed
        assert (verdict.last(push).state == 'deployed') == allowed


def test_the_policy_cannot_be_changed_by_the_repository(
    world: World, repository: Repository, clone: Clone
) -> None:
    host_says(world, 'allow-targets = ssh://nobody@localhost\n')
    repository.hgrc(
        targets(
            world,
            more='allow-targets = ssh://*\nallow-repository-config = command\n'
            'user-variables = PATH\n',
        )
    )
    clone.commit()
    push = clone.push()
    assert b'delegate: blog in .hg/hgrc:4: ' in b'\n'.join(push.remote)
    assert not world.deploys()


@pytest.mark.once
def test_the_host_names_the_options_it_allows(
    world: World, repository: Repository, clone: Clone
) -> None:
    host_says(world, 'allow-repository-config = retries, when\n')
    repository.hgrc(targets(world, more='blog:retries = 1\n'))
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    clone.commit()
    assert b"'wait' is not for a repository's hgrc" in refused(clone.push())[0]


def test_a_target_of_the_host_is_served_whatever_the_repository_says(
    world: World, repository: Repository, clone: Clone
) -> None:
    host_says(
        world,
        f'blog = ssh://{world.deploy.name}@localhost:{world.port}\n'
        'blog:timeout = 5m\nallow-targets = none\n',
    )
    repository.hgrc('[delegate]\nother = ssh://other@localhost\n')
    clone.commit()
    push = clone.push()
    assert [end.state for end in verdict.among(push.remote)] == ['deployed']
    assert b'delegate: other in .hg/hgrc:4: ' in b'\n'.join(push.remote)


@pytest.mark.parametrize('how', ['link', 'group', 'others'])
def test_an_hgrc_that_others_can_have_written_is_refused(
    world: World, repository: Repository, clone: Clone, how: str
) -> None:
    repository.hgrc(targets(world))
    hgrc = repository.path / '.hg' / 'hgrc'
    if how == 'link':
        elsewhere = hgrc.with_name('elsewhere')
        hgrc.rename(elsewhere)
        hgrc.symlink_to(elsewhere)
        said = b'is a symbolic link'
    else:
        os.chmod(hgrc, 0o664 if how == 'group' else 0o646)
        said = b'can be written by others'
    clone.commit()
    push = clone.push()
    assert push.returncode == 0
    (line,) = refused(push)
    assert said in line
    assert not world.deploys()
    # mended, what was pushed is delegated
    if how == 'link':
        hgrc.unlink()
        elsewhere.rename(hgrc)
    else:
        os.chmod(hgrc, 0o644)
    assert repository.hg('delegate', '--pending').returncode == 0
    assert len(world.deploys()) == 1


@pytest.mark.parametrize('owner', ['pusher', 'server'])
def test_what_was_read_through_a_link_does_not_count_once_that_is_gone(
    world: World, repository: Repository, clone: Clone, owner: str
) -> None:
    """A link, for as long as Mercurial reads it, to what is trusted."""
    if os.geteuid():
        pytest.skip('only root can give files away')
    hgrc = repository.path / '.hg' / 'hgrc'
    instead = hgrc.with_name('instead')
    swap = f'[hooks]\npretxnopen.swap = mv {instead} {hgrc}\n'
    repository.hgrc(targets(world) + swap)
    # the same words, but by somebody who is not trusted; or other ones
    other = hgrc.read_text() if owner == 'pusher' else '[ui]\n'
    hgrc.rename(hgrc.with_name('elsewhere'))
    hgrc.symlink_to(hgrc.with_name('elsewhere'))
    world.server.write(instead, other)
    if owner == 'pusher':
        os.chown(instead, world.pusher.uid, world.pusher.gid)
    clone.commit()
    push = clone.push()
    assert not hgrc.is_symlink()
    assert not world.deploys()
    (line,) = refused(push)
    assert b'has changed since it was read' in line


def test_a_revset_that_cannot_be_evaluated_stops_its_target_alone(
    world: World, repository: Repository, clone: Clone
) -> None:
    more = 'blog:when = rev(99999999999999999999999)\n\x1b]0;owned\x07 = x\n'
    repository.hgrc(targets(world, 'blog', 'docs', more=more))
    node = clone.commit()
    push = clone.push()
    assert b'delegate: blog:when in .hg/hgrc' in b'\n'.join(push.remote)
    assert not [line for line in push.remote if b'exception' in line]
    # nor does what an hgrc says steer the pusher's terminal
    assert b'\x1b' not in b''.join(push.remote)
    assert any(b'?]0;owned?' in line for line in push.remote)
    commands = [deploy.command for deploy in world.deploys()]
    assert commands == [f'hg-delegate 1 docs {node}']


@pytest.mark.once
def test_what_names_the_pusher_is_refused_as_well(
    world: World, repository: Repository, clone: Clone
) -> None:
    host_says(world, f'allow-targets = ssh://{world.deploy.name}@localhost:*\n')
    repository.hgrc(targets(world, more='user-variables = HOME\n'))
    clone.commit()
    clone.push()
    (push,) = world.deploys()[0].context['pushes']
    assert push['pusher'] is None
