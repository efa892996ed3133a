"""The examples of docs/sites.rst, run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import loopback
import pytest
import verdict
from accounts import Account
from repositories import Clone, Repository
from sources import CHECKOUT
from world import World

PAGE = (CHECKOUT / 'docs' / 'sites.rst').read_text('utf-8')
BLOCK = re.compile(r'^\.\. code-block:: (\w+)\n((?:\n|   .*\n)+)', re.MULTILINE)
RECORD = 'cd; . ./record; echo deployed'


def block(word: str) -> str:
    """The one example on the page with WORD in it."""
    (found,) = [text for _, text in BLOCK.findall(PAGE) if word in text]
    return re.sub('^   ', '', str(found), flags=re.MULTILINE).strip() + '\n'


def key(world: World, name: str) -> str:
    """Make ~/.ssh/NAME of the server account, and the public half."""
    made = loopback.keygen(world.base / name)
    private = made.read_text('ascii')
    world.server.write(f'.ssh/{name}', private, 0o600)
    public = loopback.public(made)
    made.unlink()
    made.with_name(f'{name}.pub').unlink()
    return public


def deployed(world: World, account: Account) -> list[str]:
    return [deploy.context['node'] for deploy in world.deploys(account)]


@pytest.mark.once
def test_each_site_gets_what_is_for_it(
    world: World, repository: Repository
) -> None:
    config = block('bookmark(production)')
    sites = dict(zip(('www', 'staging', 'docs'), (world.deploy, *world.others)))
    for name, account in sites.items():
        account.authorize(key(world, name), f'sh -c "{RECORD}"')
        config = config.replace(
            f'ssh://hg-{name}@localhost',
            f'ssh://{account.name}@localhost:{world.port}',
        )
    repository.hgrc(config)
    clone = world.clone(repository)
    nodes = [clone.commit()]
    clone.push()
    nodes.append(clone.commit(files={'docs/index': 'text'}))
    clone.push()
    nodes.append(clone.commit())
    clone.push()
    commands = block('hg push -B').replace('1f0e9c2d3a4b', '.')
    bookmark, push = [line.split()[2:] for line in commands.splitlines()]
    clone.hg(*bookmark)
    ended = clone.push(*push[1:], check=False)
    assert ended.returncode == 1
    assert verdict.among(ended.remote) == [verdict.deployed(nodes[2], 'www')]
    assert deployed(world, sites['www']) == [nodes[2]]
    assert deployed(world, sites['staging']) == nodes
    assert deployed(world, sites['docs']) == [nodes[1]]


@pytest.mark.once
@pytest.mark.parametrize('status', [0, 3])
def test_a_ci_job_fails_when_the_deploy_did(
    world: World, repository: Repository, ready: Clone, status: int
) -> None:
    world.forced_command(f'. ./record\nexit {status}\n')
    ready.commit()
    hg = shlex.join(ready.program)
    script = block('push.log').replace('hg push', f'{hg} push')
    done = world.pusher.run(['sh', '-c', script], cwd=ready.path, check=False)
    assert done.returncode == (1 if status else 0)
    assert b'added 1 changesets' in done.stdout
    assert len(world.deploys()) == 1
    # by the name of what the target has
    script = block('hg id -i').replace('hg push', f'{hg} push')
    script = script.replace('hg id', f'{hg} id')
    ready.commit()
    done = world.pusher.run(['sh', '-c', script], cwd=ready.path, check=False)
    assert done.returncode == (1 if status else 0)
    assert done.stdout == b''


def test_a_host_behind_a_gate_is_reached_with_a_certificate(
    world: World, repository: Repository
) -> None:
    address = world.sshd.addresses[-1]  # ::1, wherever there is one
    gate, site = world.others
    example = {
        '2001:db8::10': address,
        'gate.example.org': 'localhost',
        'hg-gate': gate.name,
        'hg-site': site.name,
        ']:22"': f']:{world.port}"',
        '/usr/local/bin/deploy-site': str(site.home / 'deploy-site'),
        'AAAA-gate': key(world, 'gate').split()[1],
    }

    def here(text: str) -> str:
        for there, value in example.items():
            text = text.replace(there, value)
        if address == '127.0.0.1':
            text = text.replace('[127.0.0.1]', address)
        return re.sub('(HostName .*)', rf'\1\n    Port {world.port}', text)

    folder = world.base / 'authority'
    folder.mkdir()
    try:
        authority = loopback.keygen(folder / 'authority')
        example['AAAA-authority'] = loopback.public(authority).split()[1]
        (folder / 'site.pub').write_text(key(world, 'site') + '\n', 'ascii')
        sign = block('ssh-keygen -s').removeprefix('$ ').split()
        subprocess.run([sign[0], '-q', *sign[1:]], check=True, cwd=folder)
        certificate = (folder / 'site-cert.pub').read_text('ascii')
    finally:
        shutil.rmtree(folder)
    world.server.write('.ssh/site-cert.pub', certificate)
    world.server.write('.ssh/config', here(block('ProxyJump')), 0o600)
    for account, word in ((gate, 'permitopen'), (site, 'cert-authority')):
        account.write('.ssh/authorized_keys', here(block(word)), 0o600)
    site.write('deploy-site', f'#!/bin/sh\n{RECORD}\n', 0o755)
    repository.hgrc(block('ssh://site'))
    clone = world.clone(repository)
    node = clone.commit()
    push = clone.push()
    assert b'site| deployed' in push.remote
    assert deployed(world, site) == [node]
    (deploy,) = world.deploys(site)
    assert deploy.environment['SSH_CONNECTION'].split()[2] == address
