"""hg delegate-receive: its clone, which is its own and stays clean."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import protocols
import pytest
import servers
from receivers import Receiver, commit
from repositories import Clone, Repository
from waiting import until
from world import World


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    return receiver


def working(receiver: Receiver, *args: str) -> bytes:
    """What hg prints in the clone, as the deploy account."""
    command = [*receiver.world.hg, '-R', str(receiver.clone), *args]
    return receiver.account.run(command).stdout


def test_it_pulls_through_http_without_reading_the_server(
    world: World, repository: Repository, receiver: Receiver, clone: Clone
) -> None:
    world.server.home.chmod(0o700)
    with world.hgweb([repository]) as url:
        source = f'{url}/{repository.path.name}'
        receiver.install(source=source)
        for _ in range(2):
            node = commit(clone)
            assert receiver.deploy(node).returncode == 0
    assert working(receiver, 'id', '-i', '--debug').decode().strip() == node
    down = receiver.deploy(node)
    assert down.returncode == 121
    assert f'cannot pull from {source}'.encode() in down.stdout


def test_it_pulls_through_ssh_without_reading_the_server(
    world: World, repository: Repository, receiver: Receiver, clone: Clone
) -> None:
    account = receiver.account
    # not by the names that ssh finds by itself
    path = account.mkdir('.ssh') / 'pull'
    key = servers.make_key(world.base / 'keys' / 'deploy', 'ed25519', 'deploy')
    private = world.base / 'keys' / 'deploy'
    account.write(path, private.read_text(), 0o600)
    for file in (private, private.with_suffix('.pub')):
        file.unlink()
    account.write('.ssh/hosts', world.known_hosts())
    served = world.server.read('.ssh/authorized_keys')
    served += served.replace(world.key(world.pusher), key)
    world.server.write('.ssh/authorized_keys', served, 0o600)
    world.server.home.chmod(0o700)
    # on the command line, which is passed on to the hg that pulls
    ssh = ' '.join(world.ssh(account))
    ssh = ssh.replace('/id_ed25519', '/pull').replace('/known_', '/')
    receiver.install('--config', f'ui.ssh={ssh}', source=repository.url)
    for _ in range(2):
        node = commit(clone)
        assert receiver.deploy(node).returncode == 0
    assert working(receiver, 'id', '-i', '--debug').decode().strip() == node


@pytest.mark.once
def test_a_password_in_the_source_is_not_told(
    receiver: Receiver, clone: Clone
) -> None:
    port = servers.free_port()
    receiver.install(source=f'http://me:secret@127.0.0.1:{port}/r')
    ended = receiver.deploy(commit(clone))
    assert ended.returncode == 121
    assert f'http://me:***@127.0.0.1:{port}/r'.encode() in ended.stdout
    assert b'secret' not in ended.stdout + ended.stderr


@pytest.mark.once
def test_the_root_that_the_server_tells_is_no_source(
    world: World, receiver: Receiver, clone: Clone
) -> None:
    other = world.repository()
    elsewhere = commit(world.clone(other))
    ended = receiver.deploy(
        elsewhere, repository={'name': 'r', 'root': str(other.path)}
    )
    assert ended.returncode == 121
    assert f'{elsewhere} is not in '.encode() in ended.stdout
    assert receiver.runs() == []


@pytest.mark.once
def test_a_bookmark_that_looks_like_a_node_is_none(
    receiver: Receiver, clone: Clone
) -> None:
    commit(clone)
    name = 'ab' * 20
    clone.hg('bookmark', name)
    clone.push('-B', name, check=False)
    ended = receiver.deploy(name)
    assert ended.returncode == 121
    assert f'{name} is not in '.encode() in ended.stdout


@pytest.mark.once
def test_untracked_files_stay(receiver: Receiver, clone: Clone) -> None:
    receiver.todo('mkdir -p build; echo $HG_NODE >>build/page\n')
    nodes = [commit(clone) for _ in range(2)]
    for node in nodes:
        assert receiver.deploy(node).returncode == 0
    assert (receiver.clone / 'build' / 'page').read_text().split() == nodes


def test_an_untracked_file_in_the_way_is_kept_and_named(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo('echo mine >page\n')
    assert receiver.deploy(commit(clone)).returncode == 0
    ended = receiver.deploy(commit(clone, {'page': 'theirs\n'}))
    assert ended.returncode == 121
    assert ended.stdout == (
        b'delegate-receive: untracked files are where the changeset has its '
        b"own: 'page'\n(move them away, they are in %s)\n"
    ) % os.fsencode(receiver.clone)
    assert (receiver.clone / 'page').read_text() == 'mine\n'
    assert len(receiver.runs()) == 1


@pytest.mark.parametrize(
    'how',
    [
        'echo x >>file',
        pytest.param('rm file', marks=pytest.mark.once),
        pytest.param('hg rm file', marks=pytest.mark.once),
    ],
)
def test_changes_are_kept_and_named_with_a_remedy(
    receiver: Receiver, clone: Clone, how: str
) -> None:
    assert receiver.deploy(commit(clone, {'file': 'one\n'})).returncode == 0
    if how.startswith('hg '):
        working(receiver, 'rm', str(receiver.clone / 'file'))
    else:
        receiver.account.run(['sh', '-c', how], cwd=receiver.clone)
    before = working(receiver, 'status')
    node = commit(clone, {'other': '1'})
    ended = receiver.deploy(node)
    assert ended.returncode == 121
    assert (
        b"the clone has changes that nobody committed: 'file'\n(save what "
        b'matters, then as this account: hg -R %s update --clean .)\n'
    ) % os.fsencode(receiver.clone) in ended.stdout
    assert working(receiver, 'status') == before
    working(receiver, 'update', '--clean', '.')
    assert receiver.deploy(node).returncode == 0


@pytest.mark.once
def test_a_folder_that_is_not_its_own_is_left_alone(
    world: World, repository: Repository, receiver: Receiver, clone: Clone
) -> None:
    node = commit(clone)
    account = receiver.account
    account.write(receiver.clone / 'precious', 'data\n')
    ended = receiver.deploy(node)
    assert ended.returncode == 121
    assert b'clone is not empty, and no clone\n(' in ended.stdout
    shutil.rmtree(receiver.clone)
    account.run(
        [*world.hg, 'clone', '-q', str(repository.path), str(receiver.clone)]
    )
    ended = receiver.deploy(node)
    assert ended.returncode == 121
    assert b'is not a clone that hg delegate-receive made\n(' in ended.stdout
    shutil.rmtree(receiver.clone)
    account.write('clone', 'a file\n')
    ended = receiver.deploy(node)
    assert ended.returncode == 121
    assert b'cannot use the clone: Not a directory\n(' in ended.stdout
    assert receiver.runs() == []


@pytest.mark.once
def test_a_clone_of_another_source_is_left_alone(
    world: World, receiver: Receiver, clone: Clone
) -> None:
    node = commit(clone)
    assert receiver.deploy(node).returncode == 0
    other = world.repository()
    receiver.install(source=str(other.path))
    ended = receiver.deploy(node)
    assert ended.returncode == 121
    assert b'clone is a clone of another source\n(' in ended.stdout
    mark = receiver.clone / '.hg' / 'delegate-source'
    assert os.fsencode(mark) in ended.stdout
    # the remedy that it names, after the repository was moved
    moved = Path(f'{receiver.repository.path}-moved')
    receiver.repository.path.rename(moved)
    receiver.install(source=str(moved))
    mark.write_text(f'{moved}\n')
    assert receiver.deploy(node).returncode == 0


@pytest.mark.once
def test_a_clone_of_another_account_is_left_alone(
    receiver: Receiver, clone: Clone
) -> None:
    node = commit(clone)
    assert receiver.deploy(node).returncode == 0
    if os.getuid() == 0:
        os.chown(receiver.clone / '.hg', 0, 0)
        ended = receiver.deploy(node)
        assert ended.returncode == 121
        assert b'clone belongs to another account\n(' in ended.stdout
    # as anybody there is a folder that cannot be made
    receiver.install(clone='/proc/clone')
    ended = receiver.deploy(node)
    assert ended.returncode == 121
    assert b'cannot use the clone: ' in ended.stdout


def test_python_files_of_the_changeset_are_not_imported(
    receiver: Receiver, clone: Clone
) -> None:
    mark = receiver.account.home / 'imported'
    poison = f'open("{mark}", "w"); raise SystemExit("poison")\n'
    names = ('mercurial/__init__', 'os', 'sitecustomize', 'json', 'hgext')
    files = {f'{name}.py': poison for name in names}
    receiver.deploy(commit(clone, files))
    ended = receiver.deploy(commit(clone))
    assert (ended.returncode, ended.stdout) == (0, b'')
    assert not mark.exists()


def test_hooks_of_the_source_do_not_run(
    repository: Repository, receiver: Receiver, clone: Clone
) -> None:
    node = commit(clone)
    mark = receiver.account.home / 'hooked'
    hooks = ('outgoing', 'changegroup', 'update', 'pre-pull')
    lines = ''.join(f'{hook}.x = touch {mark}\n' for hook in hooks)
    repository.hgrc(f'[hooks]\n{lines}')
    ended = receiver.deploy(node)
    # As root its owner is another account, whose hgrc nobody trusts.
    assert b'abort' not in ended.stdout
    assert ended.returncode == 0
    assert not mark.exists() or os.getuid() != 0


@pytest.mark.parametrize('moment', ['pull', 'update'])
def test_a_pull_or_update_that_was_killed_is_made_good(
    receiver: Receiver, clone: Clone, moment: str
) -> None:
    account = receiver.account
    first = commit(clone, {f'f{n}': 'one\n' for n in range(20)})
    assert receiver.deploy(first).returncode == 0
    files = {f'f{n}': 'two\n' for n in range(20)}
    node = commit(clone, files)
    # kill -9 in the middle: with a transaction open, or half of the files
    account.write(
        'kill.py',
        'import os\n'
        'from mercurial import context, extensions\n'
        'def kill(*args, **kwargs):\n'
        '    os.kill(os.getpid(), 9)\n'
        'count = [10]\n'
        'def some(orig, *args, **kwargs):\n'
        '    count[0] -= 1\n'
        '    return orig(*args, **kwargs) if count[0] else kill()\n'
        'def uisetup(ui):\n'
        "    if ui.config(b'kill', b'at') == b'update':\n"
        "        extensions.wrapfunction(context.workingfilectx, 'write', "
        'some)\n'
        'def reposetup(ui, repo):\n'
        "    if ui.config(b'kill', b'at') == b'pull':\n"
        "        repo.ui.setconfig(b'hooks', b'pretxnclose.kill', kill)\n",
    )
    account.write(
        '.hgrc',
        f'[extensions]\nkill = {account.home}/kill.py\n[kill]\nat = {moment}\n'
        # one process, which is the one that is killed
        '[worker]\nenabled = no\n',
    )
    ended = receiver.deploy(node)
    assert ended.returncode == 121, ended
    hg = receiver.clone / '.hg'
    left = {'pull': 'store/journal', 'update': 'updatestate'}[moment]
    assert (hg / left).exists()
    account.write('.hgrc', '')
    ended = receiver.deploy(node)
    assert ended.returncode == 0, ended
    assert working(receiver, 'status') == b''
    assert (receiver.clone / 'f0').read_text() == 'two\n'
    assert receiver.runs() == [first, node]


@pytest.mark.once
def test_changes_made_by_hand_survive_an_update_that_was_refused(
    receiver: Receiver, clone: Clone
) -> None:
    assert receiver.deploy(commit(clone, {'file': 'one\n'})).returncode == 0
    receiver.account.write(receiver.clone / 'file', 'by hand\n')
    for n in range(2):
        node = commit(clone, {'file': f'{n}\n'})
        assert receiver.deploy(node).returncode == 121
        # as if it was killed before it had changed anything
        receiver.account.write(receiver.clone / '.hg/delegate-updating', '')
    assert (receiver.clone / 'file').read_text() == 'by hand\n'


@pytest.mark.once
def test_a_pull_that_hangs_ends_in_time_or_when_cancelled(
    receiver: Receiver, clone: Clone
) -> None:
    node = commit(clone)
    assert receiver.deploy(node).returncode == 0
    receiver.account.write(
        '.hgrc', '[hooks]\npre-pull = echo >~/pulling; sleep 900\n'
    )
    request, data = protocols.deploy(node, id='ab' * 16)
    process = receiver.start(request, data)
    until((receiver.account.home / 'pulling').exists)
    assert receiver.status('ab' * 16)['state'] == 'pending'
    assert receiver.ask(*protocols.named('cancel', 'ab' * 16)).returncode == 0
    assert process.wait(60) == 125
    process.communicate()
    receiver.install(timeout='1s')
    assert receiver.deploy(node).returncode == 124
    assert not receiver.processes('sleep')
