"""hg commands without the start of an hg for each: a command server.

An account has one 'hg serve --cmdserver pipe' in its home, with the
environment of every hg that it starts, and another one if there are commands
that the extension is loaded for. They are for what prepares a test and for
questions whose process is not what is tested: a push, the server's side of it
and what is tested of our own commands are processes of their own.

See 'hg help -e commandserver' or hglib for what is spoken.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from accounts import Account, Failed

# By the home of the account, and whether the extension is loaded there.
_servers: dict[tuple[Path, bool], Server] = {}


def run(
    account: Account,
    program: Sequence[str],
    args: Sequence[str],
    *,
    check: bool = True,
    extended: bool = False,
    timeout: float = 120,
) -> subprocess.CompletedProcess[bytes]:
    """Run PROGRAM (hg) with ARGS as ACCOUNT, as account.run() does it; its
    standard input is empty. EXTENDED: ARGS name a repository that enables the
    extension, which stays loaded."""
    hgrc = account.home / '.hgrc'
    settings = hgrc.read_bytes() if hgrc.exists() else b''
    server = _servers.get((account.home, extended))
    if not server or not server.serves(settings):
        if server:
            server.close()
        server = Server(account, program, settings)
        _servers[account.home, extended] = server
    status, stdout, stderr = server.run(args, timeout)
    command = [*program, *args]
    if check and status:
        raise Failed(status, command, stdout, stderr)
    return subprocess.CompletedProcess(command, status, stdout, stderr)


def pids() -> set[int]:
    """The processes of all command servers."""
    return {server.process.pid for server in _servers.values()}


def close(base: Path) -> None:
    """End those of the accounts whose homes are in BASE."""
    for key in [key for key in _servers if base in key[0].parents]:
        _servers.pop(key).close()


class Server:
    """The command server of ACCOUNT, which has read SETTINGS as its hgrc."""

    def __init__(
        self, account: Account, program: Sequence[str], settings: bytes
    ) -> None:
        self._settings = settings
        self.process = account.popen(
            [*program, 'serve', '--cmdserver', 'pipe'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._give_up = time.monotonic() + 60
        channel, _hello = self._message()
        assert channel == b'o'

    def serves(self, settings: bytes) -> bool:
        """Whether it is there, and has read the present SETTINGS."""
        return settings == self._settings and self.process.poll() is None

    def run(
        self, args: Sequence[str], timeout: float
    ) -> tuple[int, bytes, bytes]:
        """The exit status of hg ARGS, and what it printed."""
        self._give_up = time.monotonic() + timeout
        printed = {b'o': b'', b'e': b''}
        request = b'\0'.join(os.fsencode(arg) for arg in args)
        try:
            self._send(b'runcommand\n')
            self._send(struct.pack('>I', len(request)) + request)
            while True:
                channel, data = self._message()
                if channel in printed:
                    printed[channel] += data
                elif channel == b'r':
                    (status,) = struct.unpack('>i', data)
                    return status, printed[b'o'], printed[b'e']
                elif channel in b'IL':
                    self._send(struct.pack('>I', 0))  # there is no more input
        except BaseException:
            # nobody could tell what belongs to which command
            self.close()
            raise

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.process.kill()
        self.process.wait()

    def _send(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)

    def _message(self) -> tuple[bytes, bytes]:
        """The channel of the next message, and its data."""
        header = self._read(5)
        channel, length = header[:1], struct.unpack('>I', header[1:])[0]
        # input is asked for by its size, and no data follow
        return channel, b'' if channel in b'IL' else self._read(length)

    def _read(self, size: int) -> bytes:
        assert self.process.stdout
        pipe = self.process.stdout.fileno()
        data = b''
        while len(data) < size:
            left = max(0, self._give_up - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                raise TimeoutError('the command server does not answer')
            more = os.read(pipe, size - len(data))
            if not more:
                raise EOFError('the command server has ended')
            data += more
        return data
