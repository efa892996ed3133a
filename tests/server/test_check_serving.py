"""What hg delegate-check says of the hg that a push meets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mercurial
import pytest
import servers
import setups
from accounts import PATH, ROOT
from hgrc import targets
from repositories import Repository
from world import World

pytestmark = pytest.mark.skipif(
    not ROOT, reason='the authorized_keys of the one account would count'
)

CHECK = ['delegate-check', '-Tjson']


@pytest.fixture
def repository(world: World) -> Repository:
    """One that enables the extension by its name."""
    hgrc = '[extensions]\nhgext_delegate =\n' + targets(world)
    return world.repository(hgrc=hgrc, enable=False)


def program(world: World, name: str, python: str) -> Path:
    """The hg under test as the program NAME, run by PYTHON."""
    text = Path(world.hg[1]).read_text('utf-8').partition('\n')[2]
    return world.server.write(name, f'#!{python}\n{text}', 0o755)


def check(world: World, repository: Repository) -> list[Any]:
    """What the hg of the server account's own venv finds about others."""
    hg = program(world, 'venv/hg', world.python)
    words = [str(hg), '-R', str(repository.path), *CHECK]
    done = world.server.run(words, check=False)
    assert done.stderr == b''
    found = json.loads(done.stdout)
    return [each for each in found if each['topic'] == 'hg']


def test_a_forced_command_with_an_hg_that_has_not_the_extension(
    world: World, repository: Repository
) -> None:
    bare = program(world, 'bare/hg', sys.executable)
    command = f'{bare} -R repos/{repository.path.name} serve --stdio'
    world.server.authorize(world.key(world.pusher), command)
    (found,) = check(world, repository)
    assert found['level'] == 'error'
    assert f' runs {bare}, Mercurial ' in found['message']
    assert found['message'].endswith(', which lacks this extension')
    start = 'install hg-delegate for it; or write '
    ours = found['remedy'].removeprefix(start).removesuffix(' in its place')
    world.server.authorize(
        world.key(world.pusher), command.replace(str(bare), ours)
    )
    (found,) = check(world, repository)
    assert (found['level'], found['remedy']) == ('ok', '')


def test_a_forced_command_that_runs_mercurial_in_its_own_python(
    world: World, repository: Repository
) -> None:
    venv = world.server.home / 'other'
    make = [sys.executable, '-I', '-m', 'venv', '--without-pip', str(venv)]
    subprocess.run(make, check=True)
    (site,) = venv.glob('lib/python3*/site-packages')
    packages = [path for path in sys.path if path.endswith('-packages')]
    (site / 'known.pth').write_text('\n'.join(packages))
    python = venv / 'bin' / 'python'
    script = world.server.write('hg-ssh', f'#!{python}\n', 0o755)
    world.server.authorize(world.key(world.pusher), f'cd repos && {script} *')
    (found,) = check(world, repository)
    assert found['level'] == 'error'
    assert f' runs {script}, Mercurial ' in found['message']
    assert found['remedy'] == f'install hg-delegate and paramiko for {python}'
    shutil.copytree(world.extension, site / 'hgext_delegate')
    (found,) = check(world, repository)
    assert found['level'] == 'ok'


def test_the_path_of_sshd(world: World, repository: Repository) -> None:
    keys = world.server.home / '.ssh' / 'authorized_keys'
    keys.write_text(f'{world.key(world.pusher)}\n')
    there = shutil.which('hg', path='/usr/bin:/bin')
    (found,) = check(world, repository)
    if there is None:
        assert found['message'].endswith(' finds no hg')
    else:
        assert found['level'] == 'error'
        assert f' runs {there}, Mercurial ' in found['message']
    remedy = found['remedy'].partition('as root: ')[2]
    # nobody else's /usr/local/bin gets it
    script = (
        f'mount -t tmpfs none /usr/local/bin && {remedy} && '
        f'exec setpriv --reuid {world.server.uid} --regid {world.server.gid} '
        '--clear-groups "$@"'
    )
    hg = [str(world.server.home / 'venv' / 'hg'), '-R', str(repository.path)]
    done = subprocess.run(
        ['unshare', '-m', 'sh', '-ec', script, 'sh', *hg, *CHECK],
        env={'HOME': str(world.server.home), 'PATH': PATH},
        stdout=subprocess.PIPE,
        check=False,
    )
    (found,) = [f for f in json.loads(done.stdout) if f['topic'] == 'hg']
    assert found['level'] == 'ok'
    assert ' runs /usr/local/bin/hg, Mercurial ' in found['message']
    # without a line nobody knows whether pushes come by ssh at all
    keys.unlink()
    (found,) = check(world, repository)
    assert found['level'] == 'warning'


def test_a_program_that_others_may_change_is_not_run(
    world: World, repository: Repository
) -> None:
    ran = world.server.home / 'ran'
    hg = world.server.write('open/hg', f'#!/bin/sh\ntouch {ran}\n', 0o777)
    world.server.authorize(world.key(world.pusher), f'{hg} serve --stdio')
    (found,) = check(world, repository)
    assert found['message'].endswith('which hg it runs is not looked at')
    assert not ran.exists()
    hg.chmod(0o755)
    check(world, repository)
    assert ran.exists()


def test_a_web_server_with_another_mercurial(
    world: World, repository: Repository
) -> None:
    world.server.authorize(world.key(world.pusher), str(world.server.home))
    other = world.server.home / 'other'
    package = Path(mercurial.__file__).parent
    for name in ('mercurial', 'hgdemandimport', 'hgext'):
        shutil.copytree(package.parent / name, other / name)
    port = servers.free_port()
    conf = world.web_conf([repository])
    serve = [sys.executable, world.hg[1], 'serve', '--web-conf', str(conf)]
    serve += ['--address', '127.0.0.1', '--port', str(port)]
    with world.http(['env', f'PYTHONPATH={other}', *serve], port):
        _ssh, found = check(world, repository)
    assert found['level'] == 'warning'
    assert found['message'].endswith(f' serves by the Mercurial in {other}')
    assert found['remedy'] == 'install hg-delegate there, and start it again'
    shutil.copytree(world.extension, other / 'hgext_delegate')
    with world.http(['env', f'PYTHONPATH={other}', *serve], port):
        (_ssh,) = check(world, repository)
    with world.hgweb([repository]):
        _ssh, found = check(world, repository)
    assert found['message'].endswith(' serves by the same Mercurial')


def test_setup_warns_of_it(world: World, repository: Repository) -> None:
    bare = program(world, 'bare/hg', sys.executable)
    world.server.authorize(world.key(world.pusher), f'{bare} serve --stdio')
    done = setups.setup(world, repository)
    said = done.stderr.decode()
    assert f' runs {bare}, Mercurial ' in said
    assert '(install hg-delegate for it; or write ' in said
