"""The world in which the real thing is tried: accounts, sshd, repositories.

One World serves a whole test run, under
/var/tmp/hgd-SUFFIX:

    home/server, home/deploy, home/pusher    the accounts (accounts.py)
    home/staging, home/docs                  more deploy accounts
    extension/hgext_delegate                 a copy that all of them can read
    venv                                     the interpreter that they run
    sshd                                     its host keys and its log

As root the accounts are real. Otherwise all of them are the current user, with
different homes and keys, and the same tests run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accounts
import commandserver
import processes
import servers
from accounts import Account
from repositories import Clone, Repository
from sources import CHECKOUT

# Serves repos/NAME and nothing else, as Mercurial's hg-ssh does.
SERVE = """\
#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
"hg -R repos/"*" serve --stdio") ;;
*) echo "not served: $SSH_ORIGINAL_COMMAND" >&2; exit 255 ;;
esac
repository=${{SSH_ORIGINAL_COMMAND#hg -R }}
exec {hg} -R "${{repository% serve --stdio}}" serve --stdio
"""

# A forced command says '. ./record' to be seen by World.deploys(), and
# '. ./hold' to wait until there is a file 'go' beside it.
RECORD = """\
record=$(mktemp -d deploys/XXXXXXXXXX)
date +%s.%N >"$record/started"
printf %s "$SSH_ORIGINAL_COMMAND" >"$record/command"
env >"$record/environment"
cat >"$record/input"
trap 'echo $? $(date +%s.%N) >"$record/ended"' EXIT
"""
HOLD = 'until [ -e go ]; do sleep 0.02; done\n'
BEGUN = '. ./record\necho begun\n. ./hold\n'
HELD = BEGUN + 'echo done\n'
DEPLOY = """\
. ./record
echo deployed
"""


@dataclass(frozen=True)
class Deploy:
    """One run of a forced command that said '. ./record'."""

    command: str  # $SSH_ORIGINAL_COMMAND
    input: bytes  # all of its standard input
    environment: dict[str, str]
    started: float  # seconds since 1970
    ended: float | None  # None while it runs, and for ever if it was killed
    status: int | None

    @property
    def context(self) -> Any:
        """The JSON object that it was sent."""
        return json.loads(self.input)


class World:
    """Everything that the end-to-end tests touch. close() removes it all."""

    server: Account
    deploy: Account
    pusher: Account
    others: list[Account]  # more deploy accounts
    base: Path
    extension: Path  # for '[extensions] hgext_delegate ='
    python: str  # an interpreter that every account can run
    hg: list[str]  # the hg under test, likewise; hgext_delegate is installed
    sshd: servers.Sshd  # with its addresses and its host_keys
    port: int  # of sshd

    def __init__(
        self, make: Callable[[Path, str], Account] = accounts.make
    ) -> None:
        """MAKE makes the account of a role, given the run's folder."""
        os.umask(0o022)  # root's may hide from the accounts what is made here
        accounts.sweep()
        self._serial = itertools.count(1)
        with contextlib.ExitStack() as stack:
            self.base, lock = accounts.claim()
            stack.callback(os.close, lock)
            stack.callback(accounts.remove, self.base)
            stack.callback(commandserver.close, self.base)
            self.accounts = [make(self.base, role) for role in accounts.ROLES]
            self.server, self.deploy, self.pusher, *self.others = self.accounts
            self._install()
            self.sshd = servers.Sshd(self.base / 'sshd', self.accounts)
            stack.callback(self.sshd.stop)
            self.port = self.sshd.port
            self.reset()
            self._made = stack.pop_all()

    def close(self) -> None:
        """End and remove all that __init__ made."""
        self._made.close()

    def reset(self) -> None:
        """Lay the homes anew, as every test finds them."""
        for account in self.accounts:
            account.home.chmod(0o755)
            for path in account.home.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        for account in (self.server, self.pusher):
            key = self.base / 'keys' / account.home.name
            account.mkdir('.ssh').chmod(0o700)
            account.write('.ssh/id_ed25519', key.read_text('ascii'), 0o600)
            account.write('.ssh/id_ed25519.pub', self.key(account))
            account.write('.ssh/known_hosts', self.known_hosts())
        self.server.mkdir('repos')
        self.server.write('serve', SERVE.format(hg=shlex.join(self.hg)), 0o755)
        self.server.authorize(
            self.key(self.pusher), f'{self.server.home}/serve'
        )
        for account in (self.deploy, *self.others):
            account.mkdir('deploys')
            account.write('record', RECORD)
            account.write('hold', HOLD)
        self.forced_command()
        self.pusher.write(
            '.hgrc',
            '[ui]\nusername = pusher <pusher@example.org>\n'
            f'ssh = {shlex.join(self.ssh(self.pusher))}\n',
        )

    def repository(
        self, name: str = '', hgrc: str = '', enable: bool = True
    ) -> Repository:
        """Make repos/NAME as the server account, with HGRC; if ENABLE, that
        begins with the line that enables the extension by its path."""
        path = self.server.home / 'repos' / (name or f'r{next(self._serial)}')
        self.server.copy(self._empty, path)
        url = f'ssh://{self.server.name}@localhost:{self.port}/repos/'
        line = f'[extensions]\nhgext_delegate = {self.extension}\n'
        repository = Repository(
            self.server, path, url + path.name, self.hg, line if enable else ''
        )
        repository.hgrc(hgrc)
        return repository

    def clone(self, repository: Repository) -> Clone:
        """Clone REPOSITORY as the pusher, over ssh if there is anything."""
        path = self.pusher.home / f'clone{next(self._serial)}'
        self.pusher.copy(self._empty, path)
        default = f'[paths]\ndefault = {repository.url}\n'
        self.pusher.write(path / '.hg' / 'hgrc', default)
        clone = Clone(self.pusher, path, self.hg, repository)
        if (repository.path / '.hg' / 'store' / '00changelog.i').exists():
            clone.hg('pull', '-q', '-u')
        return clone

    def forced_command(self, script: str = DEPLOY) -> None:
        """Let the server account log in to the deploy account and run SCRIPT,
        for sh, in the deploy account's home. '. ./record' records the run."""
        path = self.deploy.write('forced', f'#!/bin/sh\n{script}', 0o755)
        self.deploy.authorize(self.key(self.server), str(path))

    def deploys(self, account: Account | None = None) -> list[Deploy]:
        """What forced commands have recorded, in the order of their start, in
        the deploy account or ACCOUNT."""
        folders = ((account or self.deploy).home / 'deploys').iterdir()
        # One that has just begun may have no time yet.
        found = [_deploy(one) for one in folders if _text(one / 'started')]
        return sorted(found, key=lambda deploy: deploy.started)

    def key(self, account: Account) -> str:
        """The public key of the server account or the pusher."""
        return _text(self.base / 'keys' / f'{account.home.name}.pub').strip()

    def known_hosts(self, host: str = '') -> str:
        """Lines of a known_hosts file for HOST, or for all names of sshd."""
        names = [host] if host else ['localhost', *self.sshd.addresses]
        hosts = ','.join(f'[{name}]:{self.port}' for name in names)
        return ''.join(f'{hosts} {key}\n' for key in self.sshd.host_keys)

    def ssh(self, account: Account) -> list[str]:
        """An ssh command for ACCOUNT, to which '-p PORT USER@HOST COMMAND' is
        added. It sends no variables and reads no file but these two, which
        ssh by itself seeks in the account's real home only."""
        folder = account.home / '.ssh'
        options = {
            'BatchMode': 'yes',
            'IdentitiesOnly': 'yes',
            'IdentityFile': folder / 'id_ed25519',
            'UserKnownHostsFile': folder / 'known_hosts',
            'GlobalKnownHostsFile': '/dev/null',
        }
        command = ['ssh', '-F', 'none']
        for name, value in options.items():
            command += ['-o', f'{name}={value}']
        return command

    def ssh_log(self) -> str:
        """What sshd has logged so far."""
        return self.sshd.log()

    @contextlib.contextmanager
    def hgweb(
        self, repositories: Sequence[Repository], *config: str
    ) -> Iterator[str]:
        """Serve REPOSITORIES at URL/NAME by hg serve as the server account,
        anybody may push, with more CONFIG as section.name=value; the URL."""
        web = self.web_conf(repositories)
        port = servers.free_port()
        command = [*self.hg, 'serve', '--web-conf', str(web)]
        command += ['--address', '127.0.0.1', '--port', str(port)]
        for item in config:
            command += ['--config', item]
        with self.http(command, port) as url:
            yield url

    def web_conf(self, repositories: Sequence[Repository]) -> Path:
        """For hgweb: REPOSITORIES by their names, anybody may push."""
        paths = ''.join(f'{r.path.name} = {r.path}\n' for r in repositories)
        text = f'[paths]\n{paths}[web]\npush_ssl = no\nallow-push = *\n'
        return self.server.write(f'hgweb{next(self._serial)}', text)

    def http(
        self, command: Sequence[str], port: int
    ) -> contextlib.AbstractContextManager[str]:
        """Run COMMAND as the server account while it answers on PORT of
        127.0.0.1 (servers.free_port()); its URL. It prints to ~/PORT.log."""
        log = self.server.write(f'{port}.log', '')
        return servers.http(self.server, command, port, log)

    def living(self) -> dict[int, str]:
        """The accounts' processes that run now, without sshd and the command
        servers: PID -> command line."""
        found = processes.living(self.base, self._uids())
        servers = commandserver.pids()
        return {pid: found[pid] for pid in found if pid not in servers}

    def end_processes(self) -> None:
        """Kill all of the accounts' processes but sshd."""
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def _uids(self) -> set[int]:
        return {account.uid for account in self.accounts}

    def _install(self) -> None:
        # Other accounts may not reach the checkout. Mercurial and paramiko
        # come from where this process has them.
        self.extension = self.base / 'extension' / 'hgext_delegate'
        skip = shutil.ignore_patterns('__pycache__')
        shutil.copytree(
            CHECKOUT / 'hgext_delegate', self.extension, ignore=skip
        )
        _run(['chmod', '-R', 'a+rX', str(self.extension)])
        venv = self.base / 'venv'
        run = [sys.executable, '-I', '-m', 'venv', '--without-pip', str(venv)]
        _run(run)
        self.python = str(venv / 'bin' / 'python')
        site = next(venv.glob('lib/python3*/site-packages'))
        packages = [path for path in sys.path if path.endswith('-packages')]
        lines = '\n'.join([*packages, str(self.extension.parent)])
        (site / 'world.pth').write_text(lines, 'utf-8')
        # The accounts cannot write there, and would compile at every start.
        _run([self.python, '-m', 'compileall', '-q', str(self.extension)])
        script = Path(sys.prefix, 'bin', 'hg')
        script = script if script.exists() else Path('/usr/bin/hg')
        self.hg = [self.python, str(script)]
        # Copied by every test, which is ten times as fast as hg init.
        self._empty = self.server.home / 'empty'
        try:
            self.server.run([*self.hg, 'init', str(self._empty)])
        except PermissionError as error:
            raise RuntimeError(
                f'other accounts cannot run {sys.executable} (use make test)'
            ) from error
        self._empty = self._empty.rename(self.base / 'empty')
        (self.base / 'keys').mkdir(0o700)
        for role in ('server', 'pusher'):
            servers.make_key(self.base / 'keys' / role, 'ed25519', role)


def _run(command: list[str]) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def _text(path: Path) -> str:
    try:
        return path.read_text('utf-8', 'surrogateescape')
    except FileNotFoundError:
        return ''


def _deploy(folder: Path) -> Deploy:
    ended = _text(folder / 'ended').split()
    environment = (_text(folder / 'environment')).splitlines()
    received = folder / 'input'
    return Deploy(
        command=_text(folder / 'command'),
        input=received.read_bytes() if received.exists() else b'',
        environment=dict(
            line.split('=', 1) for line in environment if '=' in line
        ),
        started=float(_text(folder / 'started')),
        ended=float(ended[1]) if ended else None,
        status=int(ended[0]) if ended else None,
    )
