"""The SSH of make demo: a server and a client, for where OpenSSH is not.

    demo_ssh.py serve
    demo_ssh.py [-p PORT] USER@HOST COMMAND

The server's folder has the homes of three accounts, all of them the current
user: 'you' logs in as 'hg', and 'hg' as 'hg-blog'. As with sshd and command=
in authorized_keys, a key leads to one account and runs one program there, a
shell script in its home, whatever is asked. The server makes the keys, prints
its port, and ends with its standard input.

The file 'printed' gets what a deploy printed, line by line, each with the
time.monotonic() at which it came.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

ADDRESS = '127.0.0.1'
SIZE = 65536
DEPLOY = 'hg-blog'
LOGINS = {'hg': 'you', DEPLOY: 'hg'}
PROGRAMS = {'hg': 'serve', DEPLOY: 'deploy'}


def serve() -> None:
    # That somebody hangs up is no news.
    logging.getLogger('paramiko').addHandler(logging.NullHandler())
    host_key = make_key(Path('host_key'))
    keys = {
        account: make_key(Path(guest, '.ssh', 'id_ed25519'))
        for account, guest in LOGINS.items()
    }
    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
        for guest in LOGINS.values():
            line = f'[{ADDRESS}]:{port} ssh-ed25519 {host_key.get_base64()}\n'
            Path(guest, '.ssh', 'known_hosts').write_text(line, 'ascii')
        start(accept, listener, host_key, keys)
        print(port, flush=True)
        sys.stdin.read()
    for process in Session.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def make_key(path: Path) -> paramiko.PKey:
    text = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(0o700, exist_ok=True)
    path.touch(0o600)
    path.write_bytes(text)
    return paramiko.Ed25519Key(filename=str(path))


def accept(
    listener: socket.socket,
    host_key: paramiko.PKey,
    keys: dict[str, paramiko.PKey],
) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(connection)
        transport.add_server_key(host_key)
        transport.start_server(threading.Event(), Session(keys))


class Session(paramiko.ServerInterface):
    """One connection."""

    processes: list[subprocess.Popen[bytes]] = []  # noqa: RUF012 - of them all

    def __init__(self, keys: dict[str, paramiko.PKey]) -> None:
        self.keys = keys
        self.account = ''

    def get_allowed_auths(self, username: str) -> str:
        return 'publickey'

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self.keys.get(username) != key:
            return paramiko.AUTH_FAILED
        self.account = username
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == 'session':
            return paramiko.OPEN_SUCCEEDED
        return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(
        self, channel: paramiko.Channel, command: bytes
    ) -> bool:
        start(self.run, channel, command.decode())
        return True

    def run(self, channel: paramiko.Channel, command: str) -> None:
        # Output must not overtake the reply to the request, which is sent
        # before the next thing is read: the first input, or the end of it.
        data = channel.recv(SIZE)
        process = self.program(command)
        self.processes.append(process)
        start(feed, process, channel, data)
        note = note_lines if self.account == DEPLOY else nothing
        streams = [
            start(drain, process.stdout, channel.sendall, note),
            start(drain, process.stderr, channel.sendall_stderr, note),
        ]
        for stream in streams:
            stream.join()
        status = process.wait()
        # As a shell says that a signal was the end.
        channel.send_exit_status(status if status >= 0 else 128 - status)
        channel.close()

    def program(self, command: str) -> subprocess.Popen[bytes]:
        home = Path(self.account).resolve()
        environment = {
            **os.environ,
            'HGRCPATH': str(home / '.hgrc'),
            'HOME': str(home),
            'LOGNAME': self.account,
            'USER': self.account,
            'SSH_ORIGINAL_COMMAND': command,
        }
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ['sh', PROGRAMS[self.account]],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=home,
            env=environment,
            start_new_session=True,
        )


def feed(
    process: subprocess.Popen[bytes], channel: paramiko.Channel, data: bytes
) -> None:
    assert process.stdin
    # A program may end without reading its input.
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        while data:
            stdin.write(data)
            stdin.flush()
            data = channel.recv(SIZE)


def drain(
    stream: IO[bytes],
    send: Callable[[bytes], None],
    note: Callable[[bytes], None],
) -> None:
    # Nobody may be there any more to send it to.
    with contextlib.suppress(OSError), stream:
        while data := os.read(stream.fileno(), SIZE):
            note(data)
            send(data)


def note_lines(data: bytes) -> None:
    with open('printed', 'a', encoding='utf-8') as printed:
        for line in data.decode().splitlines():
            printed.write(f'{time.monotonic()} {line}\n')


def nothing(data: bytes) -> None:
    pass


def start(function: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def connect(destination: str, port: int, command: str) -> int:
    """Run COMMAND as ssh does, with our three streams; its exit status."""
    user, _, host = destination.rpartition('@')
    client = paramiko.SSHClient()
    client.load_host_keys(os.path.expanduser('~/.ssh/known_hosts'))
    client.connect(
        host,
        port,
        user,
        key_filename=os.path.expanduser('~/.ssh/id_ed25519'),
        allow_agent=False,
        look_for_keys=False,
    )
    transport = client.get_transport()
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel = transport.open_session()
    channel.exec_command(command)
    start(send_input, channel)
    errors = start(receive, channel.recv_stderr, 2)
    receive(channel.recv, 1)
    errors.join()
    return int(channel.recv_exit_status())


def send_input(channel: paramiko.Channel) -> None:
    # The program may end before its input does.
    with contextlib.suppress(OSError):
        while data := os.read(0, SIZE):
            channel.sendall(data)
        channel.shutdown_write()


def receive(recv: Callable[[int], bytes], descriptor: int) -> None:
    while data := recv(SIZE):
        os.write(descriptor, data)


def main() -> int:
    if sys.argv[1:] == ['serve']:
        serve()
        return 0
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument('destination')
    parser.add_argument('-p', dest='port', type=int, default=22)
    parser.add_argument('command')
    options = parser.parse_args()
    return connect(options.destination, options.port, options.command)


if __name__ == '__main__':
    sys.exit(main())
