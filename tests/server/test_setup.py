"""hg delegate-setup: what it prints is pasted, and pushes deploy."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import servers
import verdict
from accounts import Account
from repositories import Completed, Repository
from setups import FOLDER, paste, pasted, refused, script, setup, url
from snapshot import tree
from world import World

FINGERPRINT = re.compile(r'SHA256:[A-Za-z0-9+/]{43}')


def answered(world: World, repository: Repository, answer: bytes) -> Completed:
    """The same by somebody who gives ANSWER when asked."""
    command = [*repository.program, '-R', str(repository.path)]
    command += ['--config', 'ui.interactive=yes']
    command += ['delegate-setup', 'blog', url(world)]
    return repository.owner.run(command, input=answer, check=False)


def forget_hosts(account: Account) -> None:
    account.write('.ssh/known_hosts', '')


def fingerprint(world: World, kind: str) -> str:
    path = world.sshd.folder / f'{kind}.pub'
    said = subprocess.run(
        ['ssh-keygen', '-lf', path], capture_output=True, check=True
    )
    return said.stdout.decode().split()[1]


def test_what_is_printed_is_pasted_and_a_push_deploys(
    world: World, repository: Repository
) -> None:
    # None of the world's own keys has a part in it.
    (world.server.home / '.ssh/id_ed25519').unlink()
    world.deploy.write('.ssh/authorized_keys', '')
    done = setup(world, repository, '--command', script(world))
    paste(world, repository, done)
    clone = world.clone(repository)
    node = clone.commit()
    push = clone.push()
    assert b'blog| deployed' in push.remote
    assert verdict.last(push).state == 'deployed'
    (deploy,) = world.deploys()
    assert deploy.command == f'hg-delegate 1 blog {node}'


def test_the_line_fits_either_loopback_address(
    world: World, repository: Repository
) -> None:
    done = setup(world, repository, '--command', script(world))
    paste(world, repository, done)
    _line, hgrc = pasted(done)
    clone = world.clone(repository)
    clone.commit()
    clone.push()
    for address in world.sshd.addresses:
        host = f'[{address}]' if ':' in address else address
        repository.hgrc(hgrc.replace('@localhost:', f'@{host}:'))
        repository.hg('delegate', 'blog')
    assert len(world.deploys()) == 1 + len(world.sshd.addresses)


def test_by_itself_it_proposes_the_receiver_which_deploys(
    world: World, repository: Repository
) -> None:
    line, hgrc = pasted(setup(world, repository))
    assert '\nblog:receiver = yes\n' in hgrc
    found = re.search(r'command="(.*)" ssh-ed25519 ', line)
    assert found and found[1].endswith(
        f' delegate-receive --clone ~/blog --source {repository.path} '
        '--run ./deploy.sh --box'
    )
    # Not as root, sshd does not know which home is meant.
    command = f'HOME={world.deploy.home}; export HOME; {found[1]}'
    paste(world, repository, setup(world, repository, '--command', command))
    clone = world.clone(repository)
    clone.commit(files={'deploy.sh': '#!/bin/sh\necho "deploying $HG_NODE"\n'})
    (clone.path / 'deploy.sh').chmod(0o755)
    node = clone.commit(files={'text': '1'})
    push = clone.push()
    assert b'blog| deploying %s' % node.encode() in push.remote, push.remote
    assert verdict.last(push).state == 'deployed'


def test_what_is_worked_on_waits_for_the_branch_default(
    world: World, repository: Repository
) -> None:
    done = setup(world, repository, '--command', script(world))
    paste(world, repository, done)
    assert 'blog:identity = ~/.config/hg-delegate/keys/blog-' in pasted(done)[1]
    clone = world.clone(repository)
    clone.hg('branch', 'work')
    clone.commit()
    # there is no branch default yet
    push = clone.push('--new-branch')
    assert not [line for line in push.remote if b'delegate' in line]
    clone.hg('branch', 'default')
    node = clone.commit()
    push = clone.push('--new-branch')
    assert verdict.last(push) == verdict.deployed(node)
    assert len(world.deploys()) == 1


def test_run_again_it_changes_nothing_and_prints_the_same(
    world: World, repository: Repository
) -> None:
    forget_hosts(world.server)
    accept = ['--accept-host-key', fingerprint(world, 'ed25519')]
    first = setup(world, repository, *accept)
    before = tree(world.server.home)
    for args in ([], accept, []):
        again = setup(world, repository, *args)
        assert (again.stdout, again.stderr) == (first.stdout, first.stderr)
    assert tree(world.server.home) == before


def test_nothing_is_written_but_the_keys_and_the_record(
    world: World, repository: Repository
) -> None:
    forget_hosts(world.server)
    before = {**tree(world.server.home), **tree(world.deploy.home)}
    setup(*(world, repository, '--accept-host-key'), fingerprint(world, 'rsa'))
    after = {**tree(world.server.home), **tree(world.deploy.home)}
    home = world.server.home
    new = {str(path.relative_to(home)) for path in {*after} - {*before}}
    key = next((home / FOLDER / 'keys').glob('*.pub')).name[:-4]
    assert new == {
        '.config',
        *(str(FOLDER / name) for name in ('', 'keys', 'known_hosts')),
        *(str(FOLDER / 'keys' / name) for name in (key, key + '.pub')),
    }
    changed = [path for path in before if after[path] != before[path]]
    assert [path for path in changed if path.is_file()] == []
    modes = {path.name: path.stat().st_mode & 0o7777 for path in after}
    assert modes[key] == modes['known_hosts'] == 0o600
    assert modes['.config'] == modes['hg-delegate'] == modes['keys'] == 0o700


def test_a_template_gets_each_part(
    world: World, repository: Repository
) -> None:
    plain = setup(world, repository)
    line, hgrc = pasted(plain)
    (item,) = json.loads(setup(world, repository, '-Tjson').stdout)
    assert line.endswith(item['authorized_keys'] + '\n')
    assert hgrc.endswith('\n' + item['hgrc'])
    assert item['target'] == 'blog' and item['url'] == url(world)
    assert Path(item['identity']).is_file()
    public = Path(item['identity'] + '.pub').read_text('ascii')
    assert (
        public == f'{item["publickey"]} delegate:blog@{repository.path.name}\n'
    )
    assert item['authorized_keys'].endswith(f' {public.strip()}')
    assert item['hostkey'] in world.known_hosts()
    assert item['fingerprint'] == fingerprint(world, 'ed25519')
    only = setup(world, repository, '-T', '{authorized_keys}\n')
    assert only.stdout.decode() == item['authorized_keys'] + '\n'


def test_an_unknown_host_key_is_shown_and_asked_for(
    world: World, repository: Repository
) -> None:
    forget_hosts(world.server)
    record = world.server.home / FOLDER / 'known_hosts'
    shown = fingerprint(world, 'ed25519')
    for no in (b'n\n', b'\n', b''):
        done = answered(world, repository, no)
        assert shown in done.stdout.decode()
        refused(done)
        assert not record.exists()
    done = answered(world, repository, b'y\n')
    assert done.returncode == 0 and shown in done.stdout.decode()
    assert record.read_text('ascii') == (
        f'[localhost]:{world.port} {world.sshd.host_keys[0]}\n'
    )
    assert setup(world, repository).returncode == 0


def test_without_anybody_to_ask_an_unknown_host_key_is_refused(
    world: World, repository: Repository
) -> None:
    forget_hosts(world.server)
    shown = fingerprint(world, 'ed25519')
    assert refused(setup(world, repository, check=False)) == (
        f'abort: host key of localhost port {world.port} is not known: '
        f'ssh-ed25519 {shown}\n'
        "(if it is what 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' "
        f'prints there, --accept-host-key {shown})\n'
    )


@pytest.mark.parametrize('number', range(3), ids=servers.KEY_TYPES)
def test_the_key_whose_fingerprint_is_given_is_pinned(
    world: World, repository: Repository, number: int
) -> None:
    forget_hosts(world.server)
    given = fingerprint(world, servers.KEY_TYPES[number])
    args = ['--accept-host-key', given, '--command', script(world)]
    done = setup(world, repository, *args)
    paste(world, repository, done)
    assert f'blog:hostkey = {world.sshd.host_keys[number]}\n' in pasted(done)[1]
    clone = world.clone(repository)
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'


def test_another_fingerprint_is_refused_even_where_the_host_is_known(
    world: World, repository: Repository
) -> None:
    other = 'SHA256:' + 'A' * 43
    said = refused(
        setup(world, repository, '--accept-host-key', other, check=False)
    )
    assert said.startswith(
        f'abort: localhost port {world.port} has no key with the fingerprint '
        f'{other}\n'
    )
    shown = [fingerprint(world, kind) for kind in servers.KEY_TYPES]
    assert FINGERPRINT.findall(said) == [other, *shown]
    said = refused(
        setup(world, repository, '--accept-host-key', shown[0][7:], check=False)
    )
    assert said.startswith(f"abort: '{shown[0][7:]}' is not a fingerprint\n")


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('[localhost]:{port} {other}\n', 'has changed'),
        ('@revoked [localhost]:{port} {key}\n', 'is revoked'),
    ],
)
@pytest.mark.parametrize('file', ['.ssh/known_hosts', f'{FOLDER}/known_hosts'])
def test_a_host_key_that_is_known_to_be_wrong_is_refused(
    world: World, repository: Repository, line: str, said: str, file: str
) -> None:
    setup(world, repository)
    forget_hosts(world.server)
    key = world.sshd.host_keys[0]
    line = line.format(port=world.port, key=key, other=world.key(world.server))
    path = world.server.write(file, line)
    shown = fingerprint(world, 'ed25519')
    for args in ([], ['--accept-host-key', shown]):
        text = refused(setup(world, repository, *args, check=False))
        assert text.startswith(
            f'abort: host key of localhost port {world.port} {said}\n'
            f'(it shows ssh-ed25519 {shown}, but {path}:1 says ssh-ed25519 SHA'
        )


def test_the_keys_of_this_machine_need_no_question(
    world: World, repository: Repository
) -> None:
    forget_hosts(world.server)
    folder = world.server.mkdir('machine')
    patch = world.server.write(
        'patch.py',
        'from mercurial import demandimport\n'
        'def uisetup(ui):\n'
        '    with demandimport.deactivated():\n'
        '        from hgext_delegate.commands.setup import hostkeys\n'
        f'    hostkeys.MACHINE = {str(folder)!r}\n',
    )
    named = world.repository('named', enable=False)
    text = f'[extensions]\nhgext_delegate =\npatch = {patch}\n'
    named.hgrc(text)
    refused(setup(world, named, check=False))
    world.server.mkdir(folder / 'ssh_host_0_key.pub')
    for name, text in {
        'ssh_host_a_key.pub': 'damaged\n',
        'ssh_host_rsa_key.pub': world.sshd.host_keys[2],
        'ssh_host_ed25519_key.pub': world.sshd.host_keys[0] + ' root@here\n',
    }.items():
        world.server.write(folder / name, text)
    done = setup(world, named)
    assert f'blog:hostkey = {world.sshd.host_keys[0]}\n' in pasted(done)[1]
    assert not (world.server.home / FOLDER / 'known_hosts').exists()


def test_the_remedy_for_a_key_that_others_can_read_can_be_typed(
    world: World, repository: Repository
) -> None:
    (item,) = json.loads(setup(world, repository, '-Tjson').stdout)
    Path(item['identity']).chmod(0o644)
    said = refused(setup(world, repository, check=False))
    remedy = re.search(r'\((chmod .*)\)', said)
    assert remedy, said
    world.server.run(['sh', '-ec', remedy[1]], cwd=Path('/'))
    setup(world, repository)
