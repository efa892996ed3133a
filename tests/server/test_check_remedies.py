"""Broken set-ups: hg delegate-check finds each, and its remedy mends it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import verdict
from accounts import ROOT
from by_hand import check
from receivers import Receiver
from repositories import Clone, Repository
from world import World

pytestmark = pytest.mark.skipif(
    not ROOT, reason='without root there is but one account'
)


@pytest.fixture
def receiver(world: World, repository: Repository, clone: Clone) -> Receiver:
    """A target that nothing is wrong with."""
    receiver = Receiver(world, repository)
    receiver.install(run='./deploy.sh')
    receiver.serve(pins(world))
    clone.owner.write(clone.path / 'deploy.sh', '#!/bin/sh\n', 0o755)
    clone.hg('commit', '-A', '-m', 'what is run')
    clone.deliver()
    return receiver


def test_it_is_only_asked(receiver: Receiver, clone: Clone) -> None:
    (found,) = [
        found
        for found in check(receiver.repository)[0]
        if found['topic'] == 'receiver'
    ]
    assert found['message'].endswith(' answers, and can pull')
    assert errors(receiver) == []
    assert not receiver.clone.exists()
    (folder,) = receiver.state.iterdir()
    assert os.listdir(folder / 'log') == []
    mended(receiver, clone)


def pins(world: World) -> str:
    keys = ', '.join(' '.join(k.split()[:2]) for k in world.sshd.host_keys)
    return f'blog:hostkey = {keys}\n'


def errors(receiver: Receiver) -> list[tuple[str, str]]:
    """Message and remedy of each error."""
    quiet = ('--config', 'ui.report_untrusted=no')
    return [
        (found['message'], found['remedy'])
        for found in check(receiver.repository, *quiet)[0]
        if found['level'] == 'error'
    ]


def one(receiver: Receiver, message: str) -> str:
    """The remedy of the only error, which has MESSAGE."""
    ((said, remedy),) = errors(receiver)
    assert message in said
    return remedy


def obey(command: str) -> None:
    """Run a remedy that is a command of the shell, as root."""
    subprocess.run(['sh', '-ec', command], check=True, cwd='/')


def mended(receiver: Receiver, clone: Clone) -> None:
    """Nothing is wrong any more, and a push is deployed."""
    assert errors(receiver) == []
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'


def authorize(receiver: Receiver, command: str) -> None:
    world = receiver.world
    receiver.account.authorize(world.key(world.server), command)


def line(receiver: Receiver) -> str:
    """The forced command."""
    text = receiver.account.read('.ssh/authorized_keys')
    found = re.search(r'command="(.*?)" ssh-', text)
    assert found
    return found[1]


def test_the_store_cannot_be_read(receiver: Receiver, clone: Clone) -> None:
    store = receiver.repository.path / '.hg' / 'store'
    obey(f'chmod -R o-rx {store}')
    obey(one(receiver, 'cannot pull from the repository: it has no right to '))
    mended(receiver, clone)


def test_a_folder_above_the_repository_cannot_be_passed(
    receiver: Receiver, clone: Clone
) -> None:
    above = receiver.repository.path.parent
    above.chmod(0o700)
    obey(one(receiver, f'it has no right to {above}'))
    # to be passed, not listed
    assert above.stat().st_mode & 0o777 == 0o701
    mended(receiver, clone)


def test_there_is_no_hg_for_the_deploy_account(
    receiver: Receiver, clone: Clone
) -> None:
    world = receiver.world
    hg = shlex.join(world.hg)
    authorize(receiver, line(receiver).replace(hg, 'hg-5'))
    remedy = one(receiver, 'hg-5: not found')
    path = re.search(r' as (/\S+)\Z', remedy)
    assert path and os.access(path[1], os.X_OK)
    authorize(
        receiver, line(receiver).replace('hg-5', f'{world.python} {path[1]}')
    )
    mended(receiver, clone)


def test_the_hg_of_the_deploy_account_has_no_python(
    receiver: Receiver, clone: Clone
) -> None:
    world = receiver.world
    receiver.account.write('hg', '#!/opt/none/bin/python3\n', 0o755)
    hg = shlex.join(world.hg)
    authorize(receiver, line(receiver).replace(hg, './hg'))
    remedy = one(receiver, './hg: not found')
    path = remedy.rpartition(' ')[2]
    authorize(
        receiver, line(receiver).replace('./hg', f'{world.python} {path}')
    )
    mended(receiver, clone)


def test_the_hg_of_the_deploy_account_has_not_the_extension(
    receiver: Receiver, clone: Clone
) -> None:
    world = receiver.world
    bare = f'{sys.executable} {world.hg[1]}'
    authorize(receiver, line(receiver).replace(shlex.join(world.hg), bare))
    remedy = one(receiver, 'failed to import extension')
    option = re.search(r'--config extensions.hgext_delegate=\S+', remedy)
    assert option
    old = '--config extensions.hgext_delegate='
    authorize(receiver, line(receiver).replace(old, option[0]))
    mended(receiver, clone)


def test_the_clone_is_one_of_another_repository(
    receiver: Receiver, clone: Clone
) -> None:
    clone.commit()
    clone.push()
    mark = receiver.clone / '.hg' / 'delegate-source'
    mark.write_text('/srv/other\n')
    remedy = one(receiver, f'{receiver.clone} is a clone of another source')
    assert remedy.startswith('move it away')
    shutil.move(receiver.clone, receiver.account.home / 'away')
    mended(receiver, clone)


def test_the_clone_cannot_be_made(receiver: Receiver, clone: Clone) -> None:
    receiver.clone.mkdir(0o755)
    remedy = one(receiver, f'cannot write {receiver.clone}')
    obey(remedy.removeprefix('as root: '))
    mended(receiver, clone)


def test_a_script_is_called_a_receiver(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.world.forced_command()
    remedy = one(receiver, 'does not answer as the receiver: deployed')
    assert remedy.endswith("take 'blog:receiver' out")
    hgrc = receiver.repository.path / '.hg' / 'hgrc'
    hgrc.write_text(hgrc.read_text().replace('blog:receiver = yes\n', ''))
    mended(receiver, clone)


def test_what_is_run_is_not_in_the_changeset(
    receiver: Receiver, clone: Clone
) -> None:
    clone.hg('mv', 'deploy.sh', 'old.sh')
    clone.hg('commit', '-m', 'it is gone')
    clone.deliver()
    remedy = one(receiver, 'the receiver runs ./deploy.sh, which is not in ')
    assert remedy.startswith('commit and push it; or correct --run')
    clone.hg('mv', 'old.sh', 'deploy.sh')
    clone.hg('commit', '-m', 'it is back')
    clone.deliver()
    mended(receiver, clone)


def test_what_is_run_is_not_executable(
    receiver: Receiver, clone: Clone
) -> None:
    (clone.path / 'deploy.sh').chmod(0o644)
    clone.hg('commit', '-m', 'it is a plain file')
    clone.deliver()
    remedy = one(receiver, 'the receiver runs ./deploy.sh, which cannot be run')
    command = re.match('in a clone: (.*); then commit', remedy)
    assert command
    subprocess.run(command[1], shell=True, check=True, cwd=clone.path)
    clone.hg('commit', '-m', 'it is a program')
    clone.deliver()
    mended(receiver, clone)


def test_the_configuration_of_the_deploy_account_is_damaged(
    receiver: Receiver, clone: Clone
) -> None:
    path = receiver.account.write('.hgrc', '[ui]\nusername\n')
    remedy = one(receiver, f'config error at {path}:2')
    assert remedy.startswith('correct that; or ')
    path.write_text('[ui]\nusername = x\n')
    mended(receiver, clone)


def test_its_shell_runs_no_command(receiver: Receiver, clone: Clone) -> None:
    obey(f'usermod -s /usr/sbin/nologin {receiver.account.name}')
    try:
        told = dict(errors(receiver))
        (remedy,) = [r for said, r in told.items() if 'shell of' in said]
        obey(remedy)
        mended(receiver, clone)
    finally:
        obey(f'usermod -s /bin/sh {receiver.account.name}')


def test_the_store_cannot_be_written(receiver: Receiver, clone: Clone) -> None:
    store = receiver.repository.path / '.hg' / 'store'
    store.chmod(0o555)
    obey(one(receiver, f'{store} cannot be written'))
    mended(receiver, clone)


def test_others_may_write_the_hgrc(receiver: Receiver, clone: Clone) -> None:
    hgrc = receiver.repository.path / '.hg' / 'hgrc'
    hgrc.chmod(0o664)
    obey(one(receiver, 'can be written by others'))
    mended(receiver, clone)


def test_the_owner_of_the_hgrc_is_not_trusted(
    receiver: Receiver, clone: Clone
) -> None:
    hgrc = receiver.repository.path / '.hg' / 'hgrc'
    os.chown(hgrc, receiver.world.pusher.uid, -1)
    enable = f'[extensions]\nhgext_delegate = {receiver.world.extension}\n'
    receiver.world.server.write('.hgrc', enable)
    remedies = '\n'.join(remedy for _said, remedy in errors(receiver))
    found = re.search("write '(.*)' into (.*) of ~/.hgrc", remedies)
    assert found, remedies
    receiver.world.server.write('.hgrc', f'{enable}{found[2]}\n{found[1]}\n')
    mended(receiver, clone)


def test_the_key_may_do_too_much(receiver: Receiver, clone: Clone) -> None:
    path = receiver.account.home / '.ssh' / 'authorized_keys'
    path.write_text(path.read_text().replace('restrict', 'restrict,pty'))
    remedy = one(receiver, 'a pty is granted to the key')
    assert remedy.endswith("needs 'restrict', no 'pty' after")
    path.write_text(path.read_text().replace('restrict,pty', 'restrict'))
    mended(receiver, clone)


def test_a_script_that_pulls_by_itself_may_not_need_the_repository(
    receiver: Receiver,
) -> None:
    world = receiver.world
    world.forced_command()
    receiver.repository.hgrc(
        f'[delegate]\nblog = ssh://{world.deploy.name}@localhost:{world.port}\n'
        + pins(world)
    )
    Path(receiver.repository.path, '.hg').chmod(0o700)
    (bar,) = [
        found
        for found in check(receiver.repository)[0]
        if 'cannot pull from the repository' in found['message']
    ]
    assert bar['level'] == 'warning'
