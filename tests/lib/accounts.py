"""The accounts of one test run: made, used, and removed without a trace.

As root they are real accounts, hgd-server-SUFFIX and so on, in the folder
/var/tmp/hgd-SUFFIX. Otherwise each 'account' is the current user with a home
of its own there. The folder is locked for as long as the run lives, so that
the next run can tell and remove what a killed one has left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import passwd
import processes

ROOT = os.getuid() == 0
ROLES = ('server', 'deploy', 'pusher', 'staging', 'docs')
PARENT = Path('/var/tmp')
PATH = '/usr/local/bin:/usr/bin:/bin'
if not ROOT:
    # an ssh to which the home is $HOME
    PATH = f'{Path(__file__).with_name("bin")}:{PATH}'


class Failed(subprocess.CalledProcessError):
    """A command's exit status was not 0; says what the command printed."""

    def __str__(self) -> str:
        printed = (self.stdout or b'') + (self.stderr or b'')
        return f'{super().__str__()}\n{printed.decode("utf-8", "replace")}'


@dataclass(frozen=True)
class Account:
    """An account of this machine (or its stand-in where we are not root)."""

    name: str
    home: Path
    uid: int
    gid: int

    def popen(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> subprocess.Popen[bytes]:
        """Start ARGS as this account in a clean environment, plus ENV.

        It runs in CWD (its home), in a session of its own, without a login
        shell. KEYWORDS go to Popen; all three streams are empty unless given.
        """
        if ROOT:
            # setuid must drop root's groups too
            keywords.update(user=self.uid, group=self.gid, extra_groups=[])
        for stream in ('stdin', 'stdout', 'stderr'):
            keywords.setdefault(stream, subprocess.DEVNULL)
        return subprocess.Popen(
            args,
            cwd=cwd or self.home,
            env={**self._environment(), **(env or {})},
            umask=0o022,
            start_new_session=True,
            **keywords,
        )

    def run(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        input: bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ARGS as popen() does, to its end or for TIMEOUT seconds.

        Raises Failed if CHECK and its exit status is not 0, and
        subprocess.TimeoutExpired when its whole session has been killed.
        """
        pipe = subprocess.PIPE
        process = self.popen(
            args, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        status = process.returncode
        if check and status:
            raise Failed(status, process.args, stdout, stderr)
        return subprocess.CompletedProcess(process.args, status, stdout, stderr)

    def write(
        self, path: str | os.PathLike[str], text: str, mode: int = 0o644
    ) -> Path:
        """Make the file PATH (under the home unless absolute), which then
        belongs to this account, as do the folders made for it."""
        target = self.home / path
        self.mkdir(target.parent)
        target.write_text(text, 'utf-8')
        target.chmod(mode)
        self._own(target)
        return target

    def mkdir(self, path: str | os.PathLike[str]) -> Path:
        """Make the folder PATH as write() makes files; it may be there."""
        target = self.home / path
        if not target.is_dir():
            self.mkdir(target.parent)
            target.mkdir(0o755)
            self._own(target)
        return target

    def copy(self, source: Path, path: str | os.PathLike[str]) -> Path:
        """Copy the folder SOURCE to PATH, as write() makes files."""
        target = self.home / path
        self.mkdir(target.parent)
        shutil.copytree(source, target)
        for folder, _, files in os.walk(target):
            for name in ('', *files):
                self._own(Path(folder, name))
        return target

    def read(self, path: str | os.PathLike[str]) -> str:
        return (self.home / path).read_text('utf-8')

    def authorize(
        self, key: str, command: str, options: str = 'restrict'
    ) -> None:
        """Let the public KEY alone log in, to run the shell line COMMAND."""
        if not ROOT:
            # sshd goes by the real home of the one account there is.
            command = (
                f'HOME={self.home}; PATH={PATH}; export HOME PATH; cd; '
                f'{command}'
            )
        quoted = command.replace('"', '\\"')
        line = f'{options},command="{quoted}" {key}\n'
        self.write('.ssh/authorized_keys', line, 0o600)

    def _environment(self) -> dict[str, str]:
        return {
            'HOME': str(self.home),
            'LANG': 'C.UTF-8',
            'LOGNAME': self.name,
            'PATH': PATH,
            'USER': self.name,
        }

    def _own(self, path: Path) -> None:
        if ROOT:
            os.chown(path, self.uid, self.gid)


def claim() -> tuple[Path, int]:
    """Make the run's folder, and return it with the descriptor of its lock."""
    new = tempfile.mkdtemp(prefix='.hgd-', dir=PARENT)
    os.chmod(new, 0o755)
    lock = os.open(new, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # It gets the name that sweep() looks for when it is locked already.
    base = PARENT / f'hgd-{secrets.token_hex(3)}'
    os.rename(new, base)
    return base, lock


def make(base: Path, role: str) -> Account:
    """Make the account of ROLE, with an empty home in BASE."""
    home = base / 'home' / role
    if not ROOT:
        user = pwd.getpwuid(os.getuid())
        account = Account(user.pw_name, home, user.pw_uid, user.pw_gid)
    else:
        name = f'hgd-{role}-{base.name.removeprefix("hgd-")}'
        # sshd without PAM refuses an account that is locked ('!'); '*' only
        # means that no password fits.
        _run('useradd --system --user-group --no-create-home --shell /bin/sh'
             f' --password * --home-dir {home} {name}')  # fmt: skip
        user = pwd.getpwnam(name)
        account = Account(name, home, user.pw_uid, user.pw_gid)
    home.parent.mkdir(0o755, exist_ok=True)
    account.mkdir(home)
    return account


def remove(base: Path) -> None:
    """Remove the run's processes, accounts and folder, whatever there is."""
    suffix = base.name.removeprefix('hgd-')
    users = [user for user in _ours() if user.pw_name.endswith(f'-{suffix}')]
    processes.end(base, {user.pw_uid for user in users})
    if any(re.match(passwd.PATTERN, user.pw_name) for user in users):
        passwd.remove(suffix)
    for user in users:
        if not re.match(passwd.PATTERN, user.pw_name):
            # 6: there is none any more
            _run(f'userdel {user.pw_name}', done=6)
    # shutil.rmtree() gives up where a deploy has made folders in folders
    subprocess.run(['rm', '-rf', '--one-file-system', base], check=True)


def sweep() -> None:
    """Remove what runs that were killed have left."""
    for base in PARENT.glob('hgd-*'):
        try:
            lock = os.open(base, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue  # that run has just removed it
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_uid == os.getuid():
                remove(base)
        os.close(lock)
    for user in _ours():
        base = PARENT / f'hgd-{user.pw_name.rpartition("-")[2]}'
        if not base.exists():
            remove(base)


def _ours() -> list[pwd.struct_passwd]:
    roles = '|'.join(f'hgd-{role}' for role in ROLES)
    name = re.compile(f'({roles}|{passwd.PATTERN})-[0-9a-f]{{6}}')
    return [user for user in pwd.getpwall() if name.fullmatch(user.pw_name)]


def _run(command: str, done: int = 0) -> None:
    result = subprocess.run(
        command.split(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if result.returncode not in (0, done):
        raise Failed(result.returncode, command, result.stdout, result.stderr)
