"""Other sides of an SSH session on this machine, for the tests of sessions.

OpenSSH's own sshd, run as the current account, one process per connection;
and servers of paramiko's or of bare sockets that misbehave as a test asks.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko

SSHD = '/usr/sbin/sshd'
SETTINGS = """\
AuthorizedKeysFile {folder}/authorized_keys
HostKey {folder}/host_ed25519
HostKey {folder}/host_ecdsa
HostKey {folder}/host_rsa
KbdInteractiveAuthentication no
PasswordAuthentication no
PermitRootLogin yes
PrintLastLog no
PrintMotd no
SetEnv HOME={folder}
StrictModes no
UsePAM no
"""


def keygen(path: Path, type_: str = 'ed25519', *options: str) -> Path:
    """Make a key pair without a passphrase, unless OPTIONS give one."""
    new = () if '-N' in options else ('-N', '')
    subprocess.run(
        ['ssh-keygen', '-q', '-t', type_, '-f', path, *new, *options],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


def public(path: Path) -> str:
    """The public half of the key at PATH: type and base64."""
    return ' '.join(Path(f'{path}.pub').read_text('ascii').split()[:2])


class Listener:
    """A listening socket whose connections HANDLE gets, one thread for all."""

    def __init__(
        self,
        handle: Callable[[socket.socket], None],
        address: str = '127.0.0.1',
    ):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.bind((address, 0))
        self.socket.listen()
        self.address = address
        self.port: int = self.socket.getsockname()[1]
        self._handle = handle
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self.socket.accept()
            except OSError:
                return
            self._handle(connection)


class Sshd:
    """sshd on an ephemeral port; `settings` go before the common ones.

    Commands get FOLDER as their home, for what the account's shell would read
    in its own is no part of a test.
    """

    def __init__(self, folder: Path, address: str = '127.0.0.1'):
        self.folder = folder
        self.settings = ''
        self._children: list[subprocess.Popen[bytes]] = []
        for type_ in ('ed25519', 'ecdsa', 'rsa'):
            keygen(folder / f'host_{type_}', type_)
        self.identity = keygen(folder / 'identity')
        self.authorize(public(self.identity))
        if os.getuid() == 0:
            os.makedirs('/run/sshd', 0o755, exist_ok=True)
        self._listener = Listener(self._serve, address)
        self.port = self._listener.port
        self.address = address

    @property
    def name(self) -> str:
        """What known_hosts calls it."""
        return f'[{self.address}]:{self.port}'

    def hostkey(self, type_: str = 'ed25519') -> str:
        return public(self.folder / f'host_{type_}')

    def authorize(self, *lines: str) -> None:
        path = self.folder / 'authorized_keys'
        path.write_text(''.join(f'{line}\n' for line in lines), 'ascii')

    def cut(self) -> None:
        """Cut all connections there are, by killing their server process."""
        for child in self._children:
            child.kill()

    def wait(self) -> None:
        """Wait for the end of the connections, which the client has closed."""
        for child in self._children:
            child.wait()

    def settle(self) -> None:
        """End what the connections so far have left, commands as well."""
        self.cut()
        for child in self._children:
            child.wait()
        self._children.clear()
        mark = re.compile(
            f'\0SSH_CONNECTION=[^\0]* {self.port}\0'.encode('ascii')
        )
        for process in Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                if mark.search(b'\0' + (process / 'environ').read_bytes()):
                    os.kill(int(process.name), signal.SIGKILL)
        self.settings = ''

    def close(self) -> None:
        self._listener.close()
        self.settle()

    def _serve(self, connection: socket.socket) -> None:
        settings = SETTINGS.format(folder=self.folder)
        new = self.folder / 'new'
        new.write_text(self.settings + settings, 'utf-8')
        # The sshd of another connection may be reading it.
        config = new.replace(self.folder / 'sshd_config')
        # A sweep of thousands would leave as many zombies.
        self._children = [c for c in self._children if c.poll() is None]
        with open(self.folder / 'log', 'ab') as log:
            self._children.append(
                subprocess.Popen(
                    [SSHD, '-i', '-e', '-f', config],
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=log,
                    env={'PATH': '/usr/local/bin:/usr/bin:/bin'},
                )
            )
        connection.close()


class _Yes(paramiko.ServerInterface):
    """Lets everybody in, and hands exec requests to the test."""

    def __init__(self, behave: Callable[[Any, Any], None]):
        self.behave = behave
        self.threads: list[threading.Thread] = []
        self.accept = True
        self.result = paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return 'publickey'

    def check_auth_publickey(self, username: str, key: Any) -> int:
        return self.result

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        thread = threading.Thread(target=self._behave, args=(channel,))
        self.threads.append(thread)
        thread.start()
        return self.accept

    def _behave(self, channel: Any) -> None:
        # What a server does is over when the client has had enough of it.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.behave(channel.transport, channel)


class Hostile:
    """An SSH server that lets everybody in, and behaves as the test says.

    BEHAVE(transport, channel) runs in a thread once a command was asked for.
    """

    def __init__(self, folder: Path, behave: Callable[[Any, Any], None]):
        self._key = paramiko.Ed25519Key(filename=str(folder / 'host_ed25519'))
        self.server = _Yes(behave)
        self.transports: list[Any] = []
        self._listener = Listener(self._serve)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()
        for transport in self.transports:
            transport.close()
        for thread in [*self.server.threads, *self.transports]:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.set_log_channel('tests.hostile')
        transport.add_server_key(self._key)
        # no timer that outlives a client which does not log in
        transport.packetizer.start_handshake = lambda timeout: None
        self.transports.append(transport)
        transport.start_server(event=threading.Event(), server=self.server)


def message(number: int, *fields: Any) -> Any:
    """An SSH message of ints, bytes (as strings), and bools; None is no more
    than a hole, and a tuple is raw bytes."""
    built = paramiko.Message()
    built.add_byte(bytes([number]))
    for field in fields:
        if isinstance(field, bool):
            built.add_boolean(field)
        elif isinstance(field, int):
            built.add_int(field)
        elif isinstance(field, tuple):
            built.add_bytes(field[0])
        else:
            built.add_string(field)
    return built


@contextlib.contextmanager
def bare(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that HANDLEs bare connections, and keeps them."""
    kept = []

    def serve(connection: socket.socket) -> None:
        kept.append(connection)
        with contextlib.suppress(OSError):
            handle(connection)

    listener = Listener(serve)
    try:
        yield listener.port
    finally:
        for connection in kept:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in kept:
            connection.close()


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """The port of a listener that answers no connection any more."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(('127.0.0.1', 0))
        listener.listen(0)
        address = listener.getsockname()
        while True:
            one = stack.enter_context(socket.socket())
            one.settimeout(0.3)
            try:
                one.connect(address)
            except TimeoutError:
                break
            except socket.timeout:
                break
        yield address[1]


def descriptors() -> list[str]:
    """What this process has open besides its standard streams."""
    found = []
    for number in os.listdir('/proc/self/fd'):
        with contextlib.suppress(OSError):
            name = os.readlink(f'/proc/self/fd/{number}')
            # A file without a name is pytest's, and it exchanges them.
            if int(number) > 2 and not name.endswith('(deleted)'):
                found.append(f'{number} {name}')
    return sorted(found)


def children() -> set[int]:
    """The processes that this one has started and not reaped."""
    found: set[int] = set()
    for task in os.listdir('/proc/self/task'):
        with contextlib.suppress(OSError):
            path = Path(f'/proc/self/task/{task}/children')
            found.update(map(int, path.read_text('ascii').split()))
    return found


# For ProxyCommand: its arguments are a host and a port.
PROXY = f"""#!{sys.executable}
import os, socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := there.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    there.sendall(data)
"""
