"""What hg delegate-setup says and prints as the surroundings are."""

from __future__ import annotations

import sys

import loopback
import pytest
import verdict
from repositories import Repository
from setups import FOLDER, paste, pasted, refused, script, setup, url
from world import World


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        (('a b', 'ADDRESS'), "'a b' is not a name for a target\n(use up to"),
        (
            ('keep', 'ADDRESS'),
            "'keep = ADDRESS' is not a target\n(for example: ",
        ),
        (
            ('a:when', 'ADDRESS'),
            "'a:when = ADDRESS' is not a target\n(for example: ",
        ),
        (('a', ''), "'a = ' is not a target\n(for example: "),
        (('a', 'hg@b'), "'hg@b' is not an ssh:// URL\n(write ssh://user@host"),
        (('a', 'ssh://u:secret@b'), 'the URL has a password\n(log in by key)'),
        (('a', 'ssh://b/c'), "'ssh://b/c' has more than a host\n(write ssh"),
        (
            ('a', 'ssh://no-such-host.invalid'),
            'the name no-such-host.invalid cannot be resolved\n(check it in',
        ),
        (
            ('a', 'ssh://localhost:1'),
            'connection refused by localhost port 1\n(sshd must run there',
        ),
        (
            ('a', 'ADDRESS', '--command', 'é'),
            "the command '\\xe9' cannot stand in an authorized_keys\n(only",
        ),
    ],
)
def test_a_mistake_is_named_and_so_is_a_remedy(
    world: World, repository: Repository, args: tuple[str, ...], said: str
) -> None:
    args = tuple(url(world) if arg == 'ADDRESS' else arg for arg in args)
    done = repository.hg('delegate-setup', *args, check=False)
    said = said.replace('ADDRESS', url(world))
    assert refused(done).startswith(f'abort: {said}')
    # What can be told without a connection is told before anything is made.
    if 'resolved' not in said and 'refused' not in said:
        assert not (world.server.home / FOLDER).exists()


def test_where_a_jump_host_leads_no_source_address_is_named(
    world: World, repository: Repository
) -> None:
    # Not as root, the line of any account counts for all of them.
    world.deploy.write('.ssh/authorized_keys', '')
    world.pusher.write('.ssh/authorized_keys', world.key(world.server), 0o600)
    key = f'  IdentityFile {world.server.home}/.ssh/id_ed25519\n'
    world.server.write(
        '.ssh/config',
        f'Host jump\n  HostName localhost\n  Port {world.port}\n'
        f'  User {world.pusher.name}\n{key}'
        'Host localhost\n  ProxyJump jump\n',
    )
    config = world.server.read('.ssh/config')
    done = setup(world, repository, '--command', script(world))
    line, _hgrc = pasted(done)
    assert '\nrestrict,command="' in line
    assert '# without from="...": which address sshd sees is not' in line
    paste(world, repository, done)
    clone = world.clone(repository)
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'
    # Without a key of its own the jump host must take that of the target.
    config = config.replace(key, '')
    world.server.write('.ssh/config', config)
    said = refused(setup(world, repository, check=False))
    where = f'localhost port {world.port}'
    assert said == (
        f'abort: the jump host to {where} ended with status 255\n'
        f'(it said: {world.pusher.name}@localhost: Permission denied '
        '(publickey).)\n'
    )
    folder = world.server.home / FOLDER / 'keys'
    (public,) = [path.read_text('ascii') for path in folder.glob('*.pub')]
    world.pusher.write('.ssh/authorized_keys', public, 0o600)
    setup(world, repository)


def test_by_a_proxy_command_likewise_and_the_source_is_not_known(
    world: World, repository: Repository
) -> None:
    proxy = loopback.PROXY.replace(sys.executable, world.python)
    path = world.server.write('proxy', proxy, 0o755)
    text = f'Host localhost\n  ProxyCommand {path} %h %p\n'
    world.server.write('.ssh/config', text)
    line, _hgrc = pasted(setup(world, repository))
    assert '\nrestrict,command="exec hg --config extensions.hgext_deleg' in line
    assert 'delegate= delegate-receive --clone ~/blog --source URL ' in line
    assert '# without from="...": which address sshd sees is not' in line
    assert '\n# URL is what the deploy account pulls from\n' in line
    # An account of another machine may have the name of this one.
    same = f'ssh://{world.server.name}@localhost:{world.port}'
    said = repository.hg('delegate-setup', 'blog', same).stderr.decode()
    assert world.server.name not in said


@pytest.mark.parametrize('user', ['root', 'me', 'other'])
def test_an_account_that_should_not_deploy_is_warned_of(
    world: World, repository: Repository, user: str
) -> None:
    name = {'me': world.server.name, 'other': 'somebody'}.get(user, user)
    address = f'ssh://{name}@localhost:{world.port}'
    done = repository.hg('delegate-setup', 'blog', address, check=False)
    said = done.stderr.decode()
    if name == 'root':
        # which the target would have to say, too
        assert 'what is deployed as root could do anything' in said
        assert done.returncode == 255
        return
    what, remedy = {
        'me': ('the server account itself', 'useradd -ms '),
        'other': ('not an account of this machine', 'if sshd runs in '),
    }[user]
    assert f'delegate: warning: {name} is {what}\n({remedy}' in said


def test_what_is_enabled_for_once_only_is_enabled_by_the_lines(
    world: World,
) -> None:
    repository = world.repository(enable=False)
    option = ['--config', f'extensions.hgext_delegate={world.extension}']
    done = setup(world, repository, *option, '--command', script(world))
    paste(world, repository, done)
    assert (
        f'[extensions]\nhgext_delegate = {world.extension}\n'
        in done.stdout.decode()
    )
    clone = world.clone(repository)
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'
    done = setup(world, repository, '--command', script(world))
    assert b'[extensions]' not in done.stdout
