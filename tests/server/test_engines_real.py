"""contrib/receivers with Slurm, Ansible and podman: 'make test-engines'."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import protocols
import pytest
import servers
from accounts import ROOT, Account
from receivers import Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from slurm import NODES, Slurm
from sources import CHECKOUT
from waiting import until
from world import World

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not ROOT or not os.environ.get('HGD_ENGINES'),
        reason='make test-engines does this, as root',
    ),
]

# Begins, waits for the test, and says whether it was ended.
FAR = """\
#!/bin/sh
me=${SLURMD_NODENAME-$$}
trap 'echo $$ >>FOLDER/ended; exit 1' TERM
trap '' PIPE
echo "begun $HG_NODE"
echo $$ >>FOLDER/begun
until [ -e FOLDER/go ] || [ -e "FOLDER/fail-$me" ]; do sleep 0.1; done
[ ! -e "FOLDER/fail-$me" ] || exit 7
echo done
"""


class Far:
    """What is run far away, as ACCOUNT."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.folder = account.mkdir('far')
        self.script = account.write(
            'deploy-blog', FAR.replace('FOLDER', str(self.folder)), 0o755
        )

    def count(self, name: str) -> int:
        path = self.folder / name
        return len(set(path.read_text().split())) if path.exists() else 0

    def touch(self, name: str) -> None:
        self.account.write(self.folder / name, '')

    def reset(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    found = Receiver(world, repository)
    found.account.copy(CHECKOUT / 'contrib' / 'receivers', 'receivers')
    for path in (found.account.home / 'receivers').iterdir():
        path.chmod(0o755)
    return found


def ended_by_all_means(receiver: Receiver, clone: Clone, far: Far) -> None:
    """A cancel, and the end of the receiver itself, end what runs on all
    three."""
    far.reset()
    id = new_id()
    process = receiver.start(*protocols.deploy(commit(clone), id=id))
    until(lambda: far.count('begun') == 3)
    assert receiver.status(id, 'cancel')['state'] == 'cancelled'
    until(lambda: far.count('ended') == 3)
    process.communicate(timeout=60)
    assert process.returncode == 125
    far.reset()
    process = receiver.start(*protocols.deploy(commit(clone), id=new_id()))
    until(lambda: far.count('begun') == 3)
    (supervisor,) = receiver.supervisors()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: far.count('ended') == 3)
    process.communicate(timeout=60)
    assert process.returncode == 120
    until(lambda: not receiver.processes(str(far.script)))


@pytest.fixture
def slurm(world: World) -> Iterator[Slurm]:
    made = Slurm(world.base / 'slurm')
    yield made
    made.close()
    shutil.rmtree(made.folder)


def test_slurm_runs_it_on_each_node(
    receiver: Receiver, clone: Clone, slurm: Slurm
) -> None:
    far = Far(receiver.account)
    words = [f'{receiver.account.home}/receivers/by-slurm', '3']
    receiver.install(
        run=shlex.join([*words, str(far.script)]),
        env=f'SLURM_CONF={slurm.config}',
    )
    node = commit(clone)
    first = receiver.start(*protocols.deploy(node))
    out = read_until(first, b': begun %s\n' % node.encode())
    until(lambda: far.count('begun') == 3)
    far.touch('go')
    out += first.communicate(timeout=60)[0]
    assert first.returncode == 0, out
    for number in range(3):
        assert b'%d: begun %s\n' % (number, node.encode()) in out
        assert b'%d: done\n' % number in out
    # One that fails ends the others.
    far.reset()
    second = receiver.start(*protocols.deploy(commit(clone)))
    until(lambda: far.count('begun') == 3)
    far.touch(f'fail-{NODES[1]}')
    out = second.communicate(timeout=60)[0]
    assert second.returncode == 7, out
    until(lambda: not slurm.jobs())
    ended_by_all_means(receiver, clone, far)
    until(lambda: not slurm.jobs())


def test_ansible_runs_it_on_each_host(
    receiver: Receiver, clone: Clone, world: World
) -> None:
    home, far = receiver.account.home, Far(world.others[0])
    shutil.copy(home / 'receivers' / 'far-job', far.account.home)
    key = world.server.read('.ssh/id_ed25519')
    receiver.account.write('.ssh/id_ed25519', key, 0o600)
    receiver.account.write('.ssh/known_hosts', world.known_hosts())
    far.account.authorize(
        world.key(world.server), 'exec sh -c "$SSH_ORIGINAL_COMMAND"'
    )
    playbook = home / 'receivers' / 'site.yml'
    text = playbook.read_text()
    for name in ('far-job', 'deploy-blog'):
        assert f'/usr/local/bin/{name}' in text
        text = text.replace(
            f'/usr/local/bin/{name}', str(far.account.home / name)
        )
    playbook.write_text(text)

    def hosts(dead: int) -> str:
        ports = [world.port, world.port, dead]
        return ''.join(
            f'h{number} ansible_host=localhost ansible_port={port} '
            f'ansible_user={far.account.name}\n'
            for number, port in enumerate(ports, 1)
        )

    inventory = receiver.account.write('inventory', hosts(world.port))
    program = Path(sys.prefix, 'bin', 'ansible-playbook')
    ssh = shlex.join(world.ssh(receiver.account)[3:])
    receiver.install(
        run=shlex.join(
            [
                *('env', f'HGD_ANSIBLE={program}'),
                f'{home}/receivers/by-ansible',
                *(str(inventory), str(playbook)),
            ]
        ),
        env=f'HGD_SSH_OPTIONS={ssh}',
    )
    node = commit(clone)
    first = receiver.start(*protocols.deploy(node))
    until(lambda: far.count('begun') == 3 or first.poll() is not None)
    far.touch('go')
    out = first.communicate(timeout=60)[0]
    assert first.returncode == 0, out
    assert all(b'changed: [h%d]\n' % n in out for n in (1, 2, 3)), out
    inventory.write_text(hosts(servers.free_port()))
    done = receiver.deploy(commit(clone))
    assert done.returncode == 4, done
    assert b'h3' in done.stdout and b'unreachable=1' in done.stdout
    inventory.write_text(hosts(world.port))
    ended_by_all_means(receiver, clone, far)


# Ends at TERM, and says what it may do.
INSIDE = """\
#!/bin/sh
trap 'echo told to end; exit 1' TERM
echo "node $HG_NODE, user $(id -u)"
ls -A / ~
for path in .hg/requires .hg/hgrc /root-made; do
    echo made >>$path && echo wrote $path
done
cat .hg/hgrc
[ ! -e HOME/secret ] || echo secret
echo made >made-in-clone
[ -e go ] || while :; do sleep 0.1; done
exit 5
"""


@pytest.fixture
def image(receiver: Receiver) -> Iterator[str]:
    """An image of the deploy account's, of busybox alone."""
    account = receiver.account
    tree = account.mkdir('image')
    for name in ('bin', 'clone', 'dev', 'etc', 'proc', 'sys', 'tmp'):
        account.mkdir(tree / name)
    shutil.copy('/bin/busybox', tree / 'bin')
    for name in ('sh', 'cat', 'echo', 'sleep', 'id', 'ls'):
        (tree / 'bin' / name).symlink_to('busybox')
    # crun refuses cgroups of both versions, and a network of its own would need
    # /dev/net/tun.
    account.write(
        '.config/containers/containers.conf',
        '[containers]\nnetns = "none"\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n',
    )
    name = 'localhost/blog-build'
    account.run(
        [
            'sh',
            '-c',
            f'tar -C {tree} --owner 0 --group 0 -c . | podman import - {name}',
        ]
    )
    yield name
    # ends the process that keeps podman's namespace
    account.run(['podman', 'system', 'migrate'])


def test_rootless_podman_is_a_box_too(
    receiver: Receiver, clone: Clone, image: str
) -> None:
    home = receiver.account.home
    receiver.account.write('secret', '')
    receiver.install(
        run=shlex.join([f'{home}/receivers/by-podman', image, './deploy.sh'])
    )
    script = INSIDE.replace('HOME', str(home))
    clone.commit(files={'deploy.sh': script, 'go': ''})
    (clone.path / 'deploy.sh').chmod(0o755)
    node = commit(clone)
    done = receiver.deploy(node)
    assert done.returncode == 5, done
    assert b'node %s, user 0\n' % node.encode() in done.stdout
    for word in (b'wrote .hg/requires', b'secret', b'default'):
        assert word not in done.stdout, done
    assert 'made' not in (receiver.clone / '.hg/hgrc').read_text()
    assert (receiver.clone / 'made-in-clone').read_text() == 'made\n'
    clone.hg('remove', 'go')
    last = commit(clone)
    for end in ('cancel', 'kill'):
        id = new_id()
        process = receiver.start(*protocols.deploy(last, id=id))
        out = read_until(process, b'user 0\n')
        if end == 'cancel':
            assert receiver.status(id, 'cancel')['state'] == 'cancelled'
        else:
            (supervisor,) = receiver.supervisors()
            os.kill(supervisor, signal.SIGKILL)
        out += process.communicate(timeout=60)[0]
        assert process.returncode == (125 if end == 'cancel' else 120), out
        until(lambda: not receiver.processes('./deploy.sh'))
        if end == 'cancel':
            assert b'told to end\n' in out, out
    said = receiver.account.run(['podman', 'ps', '-aq']).stdout
    assert said == b''
