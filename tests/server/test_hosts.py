"""Each kind of host that docs/hosts describes, with the real thing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pushes
import pytest
import verdict
from by_hand import cron
from delegations import log
from hgrc import targets
from mercurial import dispatch
from repositories import Clone, Push, Repository
from sources import CHECKOUT
from world import World

# mercurial-server's hg-ssh, as far as a push can tell: it serves in its own
# process, from the folder of all repositories, by the host's *.rc files alone.
MERCURIAL_SERVER = """\
import os, re, sys, types

class Ruleset:
    rules = {'user': sys.argv[1]}
    def get(self, key):
        return self.rules.get(key)

sys.modules['mercurialserver'] = types.ModuleType('mercurialserver')
ruleset = types.ModuleType('mercurialserver.ruleset')
ruleset.rules = Ruleset()
sys.modules['mercurialserver.ruleset'] = ruleset
os.environ['HGRCPATH'] = os.path.expanduser('~/remote-hgrc.d')
os.environ['REMOTE_USER'] = 'mallory'
os.chdir(os.path.expanduser('~/repos'))
asked = os.environ['SSH_ORIGINAL_COMMAND']
name = re.fullmatch('hg -R ([a-z0-9/]+) serve --stdio', asked)[1]

import hgdemandimport
hgdemandimport.enable()
from mercurial import dispatch
try:
    from mercurial.main_script import request
except ImportError:
    from mercurial.dispatch import request
dispatch.initstdio()
command = [b'-R', os.fsencode(name), b'serve', b'--stdio']
dispatch.dispatch(request(command))
"""


def page(name: str) -> str:
    return (CHECKOUT / 'docs' / 'hosts' / f'{name}.rst').read_text('utf-8')


def block(name: str, word: str) -> str:
    """The one example of the page NAME with WORD in it."""
    found = re.findall(r'^\.\. code-block:: \w+\n\n((?:   .*\n|\n)+)',
                       page(name), re.MULTILINE)  # fmt: skip
    (text,) = [text for text in found if word in text]
    return re.sub('^   ', '', str(text), flags=re.MULTILINE).strip() + '\n'


def deployed(push: Push) -> str:
    """The node that the last line names, 12 digits."""
    end = verdict.last(push)
    assert end.state == 'deployed'
    return end.detail


def test_hg_ssh(world: World, repository: Repository, clone: Clone) -> None:
    program = shutil.which('hg-ssh')
    assert program, "Mercurial's contrib/hg-ssh must be on PATH"
    text = Path(program).read_text('utf-8')
    if not hasattr(dispatch, 'request'):
        # Since Mercurial 7.2, whose own hg-ssh pip does not bring along.
        text = text.replace('dispatch.request(', 'main_script.request(')
        text = text.replace('    dispatch,\n', '    dispatch, main_script,\n')
    (line,) = re.findall('command="(.*)"', block('hg-ssh', 'repos && hg-ssh'))
    script = world.server.write('bin/hg-ssh', text)
    command = shlex.join([world.python, str(script)])
    world.server.authorize(
        world.key(world.pusher), line.replace('hg-ssh', command)
    )
    repository.hgrc(targets(world))
    node = clone.commit()
    push = clone.push(repository.url.replace('/repos/', '/'))
    assert b'blog| deployed' in push.remote
    assert deployed(push) == node[:12]
    refused = clone.push(repository.url.replace('/repos/', '/../'), check=False)
    assert b'Illegal repository' in refused.stderr + refused.stdout


@pytest.mark.parametrize('wait', ['yes', 'no'])
def test_a_mercurial_server(
    world: World, repository: Repository, clone: Clone, wait: str
) -> None:
    script = world.server.write('hg-ssh', MERCURIAL_SERVER)
    world.server.authorize(
        world.key(world.pusher),
        shlex.join([world.python, str(script), 'alice/laptop']),
    )
    world.server.write(
        'remote-hgrc.d/delegate.rc',
        f'[delegate]\nblog = ssh://{world.deploy.name}@localhost\n'
        f'blog:wait = {wait}\n',
    )
    for ignored in ('remote-hgrc.d/notes', '.hgrc'):
        world.server.write(ignored, '[delegate]\nblog:nonsense = 1\n')
    repository.hgrc(targets(world))
    node = clone.commit()
    push = clone.push(repository.url.replace('/repos/', '/'))
    assert b'nonsense' not in b'\n'.join(push.remote)
    if wait == 'yes':
        assert deployed(push) == node[:12]
    else:
        assert verdict.last(push) == verdict.handed_over(1)
        repository.hg('delegate-log', '1', '--follow')
    (deploy,) = world.deploys()
    assert deploy.context['node'] == node
    assert pushes.told_push(world)['pusher'] == 'alice/laptop'
    assert not deploy.context['repository']['root'].startswith('repos')


def test_a_mirror_delegates_what_it_has_pulled(
    world: World, repository: Repository, clone: Clone
) -> None:
    mirror = world.repository()
    hg = f'{shlex.join(world.hg)} delegate'
    hook = block('mirror', 'changegroup').replace('hg delegate', hg)
    mirror.hgrc(targets(world) + hook)
    nodes = []
    for _ in range(2):
        nodes.append(clone.commit())
        clone.push()
        said = mirror.hg('pull', str(repository.path)).stdout
        assert verdict.deployed(nodes[-1]) in verdict.among(said)
    mirror.hg('pull', str(repository.path))
    assert [deploy.context['node'] for deploy in world.deploys()] == nodes
    assert world.deploys()[1].context['previous'] == nodes[0]


def test_what_a_mirror_could_not_delegate_is_found_by_cron(
    world: World, repository: Repository, clone: Clone
) -> None:
    mirror = world.repository()
    hg = f'{shlex.join(world.hg)} delegate'
    hook = block('mirror', 'changegroup').replace('hg delegate', hg)
    mirror.hgrc(
        '[delegate]\nblog = ssh://localhost:1\nblog:retries = 0\n' + hook
    )
    node = clone.commit()
    clone.push()
    pulled = mirror.hg('pull', str(repository.path))
    (end,) = verdict.among(pulled.stdout + pulled.stderr)
    assert end.state == 'pending' and 'connection refused' in end.detail
    assert mirror.hg('log', '-r', 'tip', '-T', '{node}').stdout == node.encode()
    mirror.hgrc(targets(world) + hook)
    cron(world, mirror.path)
    (deploy,) = world.deploys()
    assert deploy.context['node'] == node


def test_a_share_has_one_journal_with_its_source(
    world: World, repository: Repository, clone: Clone
) -> None:
    share = repository.path.with_name('share')
    command = ['--config', 'extensions.share=', 'share', '-U']
    world.server.run([*world.hg, *command, str(repository.path), str(share)])
    repository.hgrc(targets(world))
    (repository.path / '.hg' / 'hgrc').chmod(0o644)
    text = (repository.path / '.hg' / 'hgrc').read_text('utf-8')
    world.server.write(share / '.hg' / 'hgrc', text)
    url = repository.url.rpartition('/')[0] + '/share'
    nodes = [clone.commit()]
    assert deployed(clone.push(url)) == nodes[0][:12]
    nodes.append(clone.commit())
    assert deployed(clone.push()) == nodes[1][:12]
    first, second = world.deploys()
    assert second.context['previous'] == first.context['node'] == nodes[0]
    assert first.context['repository']['name'] == 'share'
    said = world.server.run([*world.hg, '-R', str(share), 'delegate-log',
                             '-Tjson']).stdout  # fmt: skip
    assert json.loads(said) == log(repository)
    assert [row['node'] for row in log(repository)] == nodes[::-1]


def enable(world: World, names: Sequence[str], clone: Clone, more: str) -> str:
    """Enable the extensions NAMES in CLONE, with MORE in its hgrc; lines
    that enable them in a repository."""
    lines = '[extensions]\n' + ''.join(f'{name} =\n' for name in names)
    hgrc = clone.path / '.hg' / 'hgrc'
    text = hgrc.read_text('utf-8') + lines + more
    world.pusher.write(hgrc, text)
    return lines


def test_with_evolve_and_topic_nothing_obsolete_is_deployed(
    world: World, repository: Repository, clone: Clone
) -> None:
    draft = '[phases]\npublish = no\n'
    lines = enable(world, ['evolve', 'topic'], clone, '')
    repository.hgrc(targets(world) + lines + draft)
    nodes = [clone.commit()]
    clone.hg('topic', 'feature')
    nodes.append(clone.commit())
    assert deployed(clone.push()) == nodes[1][:12]
    world.pusher.write(clone.path / 'file', 'amended\n')
    clone.hg('amend')
    amended = clone.hg('log', '-r', '.', '-T', '{node}').stdout.decode()
    assert deployed(clone.push('-f')) == amended[:12]
    told = pushes.told(world)
    assert told['previous'] == nodes[1]
    (head,) = told['pushes'][0]['heads']
    assert head['node'] == amended and head['branch'].startswith('default')
    # by hand it is the newest that is not obsolete
    clone.hg('prune', '-r', '.')
    clone.push(check=False)
    assert len(world.deploys()) == 2
    repository.hg('delegate')
    assert world.deploys()[-1].context['node'] == nodes[0]


def test_with_hg_git(
    world: World, repository: Repository, clone: Clone
) -> None:
    said = repository.hg('version', '-q', '--config', 'extensions.hggit=')
    if b'7.2' in said.stdout:
        # There is none for it; what then is said must be all that happens.
        assert b'hggit' in said.stderr
    lines = enable(world, ['hggit'], clone, '')
    repository.hgrc(targets(world) + lines)
    node = clone.commit()
    assert deployed(clone.push()) == node[:12]


GIT = """\
import sys
from dulwich import porcelain
porcelain.init(sys.argv[1])
for name in sys.argv[2:]:
    open(f'{sys.argv[1]}/{name}', 'w').close()
    porcelain.add(sys.argv[1], [f'{sys.argv[1]}/{name}'])
    who = b'a <a@example.org>'
    porcelain.commit(sys.argv[1], message=b'x', author=who, committer=who)
"""


def test_what_a_mirror_gets_from_git_is_delegated(world: World) -> None:
    mirror = world.repository()
    said = mirror.hg('version', '-q', '--config', 'extensions.hggit=')
    if b'7.2' in said.stdout:
        return  # there is no hg-git for it
    git = world.server.home / 'git'
    world.server.mkdir('git')
    world.server.run([world.python, '-c', GIT, str(git), 'one', 'two'])
    (hook,) = re.findall('(txnclose.mirror = .*)', page('extensions'))
    hook = hook.replace('hg delegate', f'{shlex.join(world.hg)} delegate')
    enabled = '[extensions]\nhggit =\n'
    mirror.hgrc(f'{targets(world)}{enabled}[hooks]\n{hook}\n')
    mirror.hg('pull', str(git))
    # nothing comes
    mirror.hg('pull', str(git))
    tip = mirror.hg('log', '-r', 'tip', '-T', '{node}').stdout.decode()
    (deploy,) = world.deploys()
    assert deploy.context['node'] == tip


def test_with_largefiles_the_receiver_has_them(
    world: World, repository: Repository, clone: Clone
) -> None:
    lines = enable(world, ['largefiles'], clone, '')
    repository.hgrc(targets(world, more='blog:receiver = yes\n') + lines)
    hg = [*world.hg, '--config', 'extensions.hgext_delegate=']
    receive = ['delegate-receive', '--clone', 'clone']
    receive += ['--source', str(repository.path), '--run', 'cat large']
    world.deploy.authorize(
        world.key(world.server), 'exec ' + shlex.join([*hg, *receive])
    )
    world.deploy.write('.hgrc', lines)
    world.pusher.write(clone.path / 'large', 'a large file\n')
    clone.hg('add', '--large', 'large')
    node = clone.commit()
    push = clone.push()
    assert deployed(push) == node[:12]
    assert b'blog| a large file' in push.remote


def test_with_lfs_over_http(
    world: World, repository: Repository, clone: Clone
) -> None:
    lines = enable(world, ['lfs'], clone, '[lfs]\ntrack = size(">1kB")\n')
    repository.hgrc(targets(world) + lines)
    node = clone.commit(files={'large': 'x' * 5000})
    with world.hgweb([repository]) as url:
        push = clone.push(f'{url}/{repository.path.name}')
    assert deployed(push) == node[:12]
