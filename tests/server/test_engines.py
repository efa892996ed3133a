"""contrib/receivers: one receiver hands over to many hosts."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import protocols
import pytest
import servers
from accounts import Account
from receivers import Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from sources import CHECKOUT
from waiting import until
from world import World

pytestmark = pytest.mark.once

NAMES = [f'h{number}' for number in range(1, 31)]
# On each host: begins, waits for the test, and says whether it was ended. Its
# output is closed then, and dash has a word to say of the sleep that TERM ends.
FAR = """\
#!/bin/sh
trap 'echo $$ >>~/ended; exit 1' TERM
trap '' PIPE
echo "begun $HG_NODE"
echo $$ >>~/begun
until [ -e ~/go ]; do sleep 0.1; done
echo done
"""


class Hosts:
    """Logins of one account, which are the hosts that NAMES says; 'dead' and
    'hang' are not there, or do not answer."""

    def __init__(self, receiver: Receiver):
        world = receiver.world
        self.receiver = receiver
        self.far: Account = world.others[0]
        self.folder = receiver.account.copy(
            CHECKOUT / 'contrib' / 'receivers', 'receivers'
        )
        for name in ('far-job', 'on-hosts', 'one-host'):
            (self.folder / name).chmod(0o755)
        self.far_job = self.far.home / 'far-job'
        shutil.copy(self.folder / 'far-job', self.far_job)
        self.far_job.chmod(0o755)
        self.script = self.far.write('deploy-here', FAR, 0o755)
        key = world.server.read('.ssh/id_ed25519')
        receiver.account.write('.ssh/id_ed25519', key, 0o600)
        receiver.account.write('.ssh/known_hosts', world.known_hosts())
        self.far.authorize(
            world.key(world.server), 'exec sh -c "$SSH_ORIGINAL_COMMAND"'
        )
        self.names = [*NAMES, 'dead', 'hang']
        self.file = receiver.account.write('hosts', '\n'.join(self.names))
        with self.file.open('a') as file:
            file.write('\n')

    def point(self, dead: int, hang: int) -> None:
        """Say at which ports those two are."""
        receiver = self.receiver
        ssh = receiver.account.home / '.ssh'
        receiver.account.write(
            '.ssh/engine',
            f'Host dead\nPort {dead}\nHost hang\nPort {hang}\n'
            f'Host *\nHostName localhost\nPort {receiver.world.port}\n'
            f'User {self.far.name}\nIdentityFile {ssh}/id_ed25519\n'
            f'UserKnownHostsFile {ssh}/known_hosts\n',
        )

    def install(self, engine: str) -> None:
        command = f'{self.far_job} {{node}} {self.script}'
        words = [str(self.folder / 'on-hosts'), engine, str(self.file), command]
        options = f'-F {self.receiver.account.home}/.ssh/engine'
        self.receiver.install(
            run=shlex.join(words), env=f'HGD_SSH_OPTIONS={options}'
        )

    def count(self, name: str) -> int:
        path = self.far.home / name
        return len(set(path.read_text().split())) if path.exists() else 0

    def processes(self) -> list[int]:
        return self.receiver.processes(str(self.script))


@pytest.fixture
def hosts(world: World, repository: Repository) -> Hosts:
    return Hosts(Receiver(world, repository))


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a host that takes a connection and never says a word."""
    with socket.create_server(('127.0.0.1', 0)) as listening:
        yield listening.getsockname()[1]


def begin(receiver: Receiver, node: str, id: str) -> subprocess.Popen[bytes]:
    return receiver.start(*protocols.deploy(node, id=id))


@pytest.mark.parametrize('engine', ['parallel', 'clush'])
def test_thirty_two_hosts_one_of_them_dead_and_one_hanging(
    hosts: Hosts, clone: Clone, silent: int, engine: str
) -> None:
    receiver, node = hosts.receiver, commit(clone)
    hosts.point(dead=servers.free_port(), hang=silent)
    hosts.install(engine)
    first = begin(receiver, node, new_id())
    # live: nothing has ended as yet
    line = b'begun %s' % node.encode()
    out = read_until(first, line)
    assert any(b'h%d' % n in out for n in range(1, 31)), out
    until(lambda: hosts.count('begun') == 30)
    go = hosts.far.write('go', '')
    out += first.communicate(timeout=120)[0]
    assert first.returncode == 1, out
    assert out.count(line) == 30, out
    assert out.endswith(b'30 of 32 hosts have it\nnot: dead hang\n'), out
    # The two are mended; the same changeset again is for them alone.
    hosts.point(dead=receiver.world.port, hang=receiver.world.port)
    again = receiver.deploy(node)
    assert again.returncode == 0, again
    assert again.stdout.count(line) == 2
    assert again.stdout.endswith(b'32 of 32 hosts have it\n')
    # Another changeset is for all; a cancel ends it on each of them.
    go.unlink()
    (hosts.far.home / 'begun').unlink()
    id = new_id()
    third = begin(receiver, commit(clone), id)
    until(lambda: hosts.count('begun') == 32)
    assert receiver.status(id, 'cancel')['state'] == 'cancelled'
    until(lambda: hosts.count('ended') == 32)
    until(lambda: not hosts.processes())
    third.communicate(timeout=60)
    assert third.returncode == 125
    # So does the end of the receiver itself.
    (hosts.far.home / 'begun').unlink()
    fourth = begin(receiver, commit(clone), new_id())
    until(lambda: hosts.count('begun') == 32)
    (supervisor,) = receiver.supervisors()
    os.kill(supervisor, 9)
    until(lambda: hosts.count('ended') == 64)
    fourth.communicate(timeout=60)
    assert fourth.returncode == 120


def test_what_is_no_host_is_refused(hosts: Hosts, clone: Clone) -> None:
    hosts.file.write_text('h1\n-oProxyCommand=true\n')
    hosts.install('parallel')
    done = hosts.receiver.deploy(commit(clone))
    assert done.returncode == 2, done
    assert b'2:-oProxyCommand=true\n' in done.stdout
    hosts.install('make')
    done = hosts.receiver.deploy(commit(clone))
    assert done.returncode == 2, done
    assert b"no engine 'make': parallel or clush" in done.stdout
    assert not Path(hosts.far.home / 'begun').exists()
