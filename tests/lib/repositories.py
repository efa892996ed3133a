"""A repository on the server, a pusher's clone of it, and a push as it is seen.

World makes them; see world.py.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import commandserver
from accounts import Account, Failed

Completed = subprocess.CompletedProcess[bytes]


@dataclass(frozen=True)
class Repository:
    """A repository of the server account."""

    owner: Account
    path: Path
    url: str  # for the pusher, over ssh
    program: list[str]  # hg
    preamble: str  # of its hgrc

    def hgrc(self, text: str) -> None:
        """Write its hgrc anew: the preamble that enables us, then TEXT."""
        self.owner.write(self.path / '.hg' / 'hgrc', self.preamble + text)

    def hg(
        self, *args: str, check: bool = True, env: dict[str, str] | None = None
    ) -> Completed:
        """Run hg in it as the server account."""
        command = [*self.program, '-R', str(self.path), *args]
        return self.owner.run(command, check=check, env=env)

    def ask(self, *args: str, check: bool = True) -> Completed:
        """The same by the command server: to look, to prepare a test, or
        where it is not the process that is tested."""
        command = ['-R', str(self.path), *args]
        if _extends(self.path, self.preamble):
            return self.owner.run([*self.program, *command], check=check)
        return commandserver.run(
            self.owner,
            self.program,
            command,
            check=check,
            extended=bool(self.preamble),
        )

    def take(self, source: str, publish: str, *args: str) -> None:
        """Pull all of the repository SOURCE, of which nobody hears."""
        config = ('extensions.hgext_delegate=!', f'phases.publish={publish}')
        command = ['-R', str(self.path), 'pull', '-q', source, *args]
        for item in config:
            command += ['--config', item]
        commandserver.run(self.owner, self.program, command)


def _extends(path: Path, known: str = '') -> bool:
    """Whether the hgrc in the repository PATH enables extensions, but for
    what it begins with if that is KNOWN; they would stay loaded."""
    hgrc = path / '.hg' / 'hgrc'
    text = hgrc.read_text('utf-8') if hgrc.exists() else ''
    text = text.removeprefix(known)
    return '[extensions]' in text or '%include' in text


@dataclass(frozen=True)
class Push:
    """What a push that has ended printed.

    Each of LINES, without its newline, has the time.monotonic() at which its
    last byte came; both streams are in it, in the order of their arrival.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    lines: list[tuple[float, bytes]]

    @property
    def remote(self) -> list[bytes]:
        """What came from the server, without the 'remote: '."""
        mark = b'remote: '
        return [
            line[len(mark) :] for _, line in self.lines if line.startswith(mark)
        ]


class RunningPush:
    """An hg push that may still be running."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[tuple[float, bytes]] = []
        self._read = {'stdout': b'', 'stderr': b''}
        self._selector = selectors.DefaultSelector()
        for name in self._read:
            stream = getattr(process, name)
            self._selector.register(stream, selectors.EVENT_READ, name)

    def wait_for(self, text: bytes, timeout: float = 60) -> bytes:
        """Read until a line with TEXT has come, and return that line.

        Raises AssertionError with what came at the end or after TIMEOUT
        seconds.
        """
        give_up = time.monotonic() + timeout
        for seen in itertools.count():
            while seen >= len(self.lines):
                if not self._receive(give_up):
                    came = b'\n'.join(line for _, line in self.lines)
                    raise AssertionError(f'no {text!r} in:\n{came.decode()}')
            if text in self.lines[seen][1]:
                return self.lines[seen][1]
        raise AssertionError('unreachable')

    def finish(self, check: bool = True, timeout: float = 120) -> Push:
        """Read to the end of the push, TIMEOUT seconds at most.

        Raises Failed if CHECK and its exit status is not 0, and
        subprocess.TimeoutExpired after killing it.
        """
        give_up = time.monotonic() + timeout
        while self._receive(give_up):
            pass
        if self._selector.get_map():
            self.kill()
            raise subprocess.TimeoutExpired(
                self.process.args, timeout, *self._read.values()
            )
        self._selector.close()
        status = self.process.wait(timeout)
        push = Push(status, **self._read, lines=self.lines)
        if check and status:
            raise Failed(status, self.process.args, push.stdout, push.stderr)
        return push

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send signal NUMBER to hg and the ssh that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _receive(self, give_up: float) -> bool:
        """Take what is there or comes next; False at the end or GIVE_UP."""
        if not self._selector.get_map():
            return False
        ready = self._selector.select(max(0, give_up - time.monotonic()))
        now = time.monotonic()
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            pending = self._read[key.data].rpartition(b'\n')[2] + data
            self._read[key.data] += data
            if not data:
                self._selector.unregister(key.fileobj)
                pending += b'\n' if pending else b''
            lines = pending.split(b'\n')[:-1]
            self.lines += [(now, line) for line in lines]
        return bool(ready)


@dataclass(frozen=True)
class Clone:
    """The pusher's clone of a repository."""

    owner: Account
    path: Path
    program: list[str]
    origin: Repository | None = None
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def hg(
        self, *args: str, check: bool = True, env: dict[str, str] | None = None
    ) -> Completed:
        """Run hg in it as the pusher; by the command server, if that does the
        same."""
        command = ['--cwd', str(self.path), '-R', str(self.path), *args]
        own = [arg for arg in args if arg.startswith(('extensions.', 'push'))]
        if env is None and not own and not _extends(self.path):
            return commandserver.run(
                self.owner, self.program, command, check=check
            )
        return self.owner.run([*self.program, *command], check=check, env=env)

    def commit(
        self,
        *args: str,
        message: str = 'a change',
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Write FILES (name -> text; one new text if not given), commit them
        by hg commit ARGS, and return the new node's 40 digits."""
        for name, text in (files or {'file': self._new_text()}).items():
            self.owner.write(self.path / name, text)
        said = self.hg('--debug', 'commit', '-A', '-m', message, *args).stdout
        found = re.search(rb'committed changeset \d+:([0-9a-f]{40})', said)
        assert found, said
        return found[1].decode('ascii')

    def tip(self) -> str:
        """The node of what was committed last."""
        return self.hg('log', '-r', 'tip', '-T', '{node}').stdout.decode()

    def deliver(self, *bookmarks: str, draft: bool = False) -> None:
        """Bring all changesets to the repository, and BOOKMARKS, as hg push
        does; but by command servers, and nothing is delegated. DRAFT: they
        stay drafts."""
        assert self.origin
        publish = 'no' if draft else 'yes'
        self.origin.take(str(self.path), publish)
        for name in bookmarks:
            self.origin.take(str(self.path), publish, '-B', name)
        if not draft:
            self.hg('phase', '--public', '-r', 'all()')

    def push(self, *args: str, check: bool = True) -> Push:
        """Run hg push ARGS to its end."""
        return self.start_push(*args).finish(check)

    def start_push(
        self, *args: str, env: dict[str, str] | None = None
    ) -> RunningPush:
        """Start hg push ARGS; its own output is not buffered, so that each
        line comes when it was printed."""
        process = self.owner.popen(
            [*self.program, '-R', str(self.path), 'push', *args],
            cwd=self.path,
            env={'PYTHONUNBUFFERED': '1', **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return RunningPush(process)

    def _new_text(self) -> str:
        return f'{self.path.name} {next(self._count)}\n'
