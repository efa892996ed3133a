"""A deploy account that has hg delegate-receive as its forced command."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protocols
from accounts import Account
from repositories import Clone, Completed, Repository
from world import World

# Says what it finds, and does what the test has written into ~/todo.
SCRIPT = """\
#!/bin/sh
echo "$HG_NODE" >>"$HOME/runs"
env >"$HOME/environment"
[ ! -e "$HOME/todo" ] || . "$HOME/todo"
"""
# for 'todo': print STARTED, and go on once the file go is there
WAIT = 'echo begun\nuntil [ -e "$HOME/go" ]; do sleep 0.02; done\necho done\n'


@dataclass(frozen=True)
class Receiver:
    """hg delegate-receive of WORLD's deploy account for REPOSITORY."""

    world: World
    repository: Repository

    @property
    def account(self) -> Account:
        return self.world.deploy

    @property
    def clone(self) -> Path:
        return self.account.home / 'clone'

    @property
    def state(self) -> Path:
        return self.account.home / '.local' / 'state' / 'hg-delegate'

    def command(self, *more: str, **options: str) -> list[str]:
        """Its command line with --NAME VALUE for OPTIONS, and MORE."""
        options = {
            'clone': str(self.clone),
            'source': str(self.repository.path),
            'run': str(self.account.home / 'script'),
            **options,
        }
        words = [*self.world.hg, '--config', 'extensions.hgext_delegate=']
        words += [*more, 'delegate-receive']
        for name, value in options.items():
            words += [f'--{name}', value]
        return words

    def install(self, *more: str, last: str = '', **options: str) -> None:
        """Make command(), and LAST, what the server account gets when it logs
        in."""
        self.account.write('script', SCRIPT, 0o755)
        words = [*self.command(*more, **options), *last.split()]
        self.account.authorize(
            self.world.key(self.world.server), 'exec ' + shlex.join(words)
        )

    def serve(self, more: str = '', port: int = 0) -> None:
        """Let the repository delegate to it, with MORE in its hgrc, at sshd's
        own port or a way to it."""
        world = self.world
        url = f'ssh://{world.deploy.name}@localhost:{port or world.port}'
        options = f'blog:receiver = yes\n{more}'
        if port:
            key = world.sshd.host_keys[0]
            options = f'blog:hostkey = {" ".join(key.split()[:2])}\n{options}'
        self.repository.hgrc(f'[delegate]\nblog = {url}\n{options}')

    def todo(self, text: str) -> None:
        self.account.write('todo', text)

    def start(
        self, request: str, data: bytes | None = None
    ) -> subprocess.Popen[bytes]:
        """Log in as the server account and ask for REQUEST; with DATA, that
        is all of its input."""
        world = self.world
        command = [*world.ssh(world.server), '-p', str(world.port)]
        process = world.server.popen(
            [*command, f'{self.account.name}@localhost', request],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert process.stdin
        if data is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(data)
            process.stdin.close()
            process.stdin = None
        return process

    def ask(self, request: str, data: bytes) -> Completed:
        """start() to its end."""
        process = self.start(request, data)
        out, error = process.communicate(timeout=120)
        return Completed(process.args, process.returncode, out, error)

    def deploy(self, node: str, **fields: Any) -> Completed:
        """Ask for a deploy of NODE; FIELDS are the object's."""
        return self.ask(*protocols.deploy(node, **fields))

    def status(self, id: str, verb: str = 'status') -> dict[str, Any]:
        """The answer to VERB, which may also be 'cancel'."""
        answer = self.ask(*protocols.named(verb, id))
        assert answer.returncode == 0, answer
        return json.loads(answer.stdout)

    def runs(self) -> list[str]:
        """The nodes for which the script ran, in that order."""
        path = self.account.home / 'runs'
        return path.read_text('utf-8').split() if path.exists() else []

    def all_runs(self) -> list[str]:
        """runs(), once no receiver is at work any more."""
        while self.processes('delegate-receive'):
            time.sleep(0.01)
        return self.runs()

    def environment(self) -> dict[str, str]:
        lines = self.account.read('environment').splitlines()
        return dict(line.split('=', 1) for line in lines)

    def await_run(self, count: int = 1) -> None:
        """Until the script has begun COUNT times."""
        while len(self.runs()) < count:
            time.sleep(0.01)

    def processes(self, word: str) -> list[int]:
        """The deploy account's processes with WORD in their command line."""
        return [
            pid for pid, line in self.world.living().items() if word in line
        ]

    def supervisors(self) -> list[int]:
        """Whoever sees a run through, which has no input; so has its child."""
        pids = set(filter(_is_alone, self.processes('delegate-receive')))
        return [pid for pid in pids if _parent(pid) not in pids]

    def followers(self) -> list[int]:
        """The others, which have the connections."""
        pids = set(self.processes('delegate-receive'))
        return list(pids - set(self.supervisors()))


def _is_alone(pid: int) -> bool:
    try:
        return os.readlink(f'/proc/{pid}/fd/0') == os.devnull
    except OSError:
        return False  # it has just ended


def _parent(pid: int) -> int:
    try:
        status = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return 0
    return int(status.rpartition(')')[2].split()[1])


def read_until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """What PROCESS prints, until TEXT has come."""
    assert process.stdout
    came = b''
    while text not in came:
        data = os.read(process.stdout.fileno(), 65536)
        assert data, (came, process.stderr and process.stderr.read())
        came += data
    return came


def commit(clone: Clone, files: dict[str, str] | None = None) -> str:
    """Commit, and bring it to the repository; the node."""
    node = clone.commit(files=files)
    clone.deliver()
    return node


def new_id() -> str:
    return secrets.token_hex(16)
