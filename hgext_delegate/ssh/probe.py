# SPDX-License-Identifier: GPL-2.0-or-later
'''what a login may have besides a command, found out by asking for it

With ``restrict`` in authorized_keys sshd refuses all of it. Nothing is asked
to run, and what is granted is given back at once.
'''

from __future__ import annotations

import queue
from collections.abc import Iterator

from . import channel_receiver, hardening, library, rfc4251

# What can be granted -> what grants it in authorized_keys, see sshd(8).
GRANTS = {
    'a pty': 'pty',
    'agent forwarding': 'agent-forwarding',
    'X11 forwarding': 'X11-forwarding',
    'local port forwarding': 'port-forwarding',
    'remote port forwarding': 'port-forwarding',
}

# What can be granted on a session channel -> the type of the request, and what
# follows it. RFC 4254 6.2 and 6.3.1, draft-ietf-sshm-ssh-agent 5
_REQUESTS = {
    'a pty': (
        b'pty-req',
        rfc4251.pack(b'dumb') + rfc4251.pack_number(80, 24, 0, 0, 0),
    ),
    'agent forwarding': (b'auth-agent-req@openssh.com', b''),
    'X11 forwarding': (
        b'x11-req',
        b'\1'
        + rfc4251.pack(b'MIT-MAGIC-COOKIE-1', b'0' * 32)
        + rfc4251.pack_number(0),
    ),
}

# RFC 4254 5.1: the host has allowed it, and tried.
_CONNECT_FAILED = 2
# Nobody listens at this port, so that a granted forwarding reaches nothing.
_NOWHERE = ('127.0.0.1', 0)


def granted(transport: hardening.Transport) -> list[str]:
    '''which of GRANTS the host grants. Raises library.ERRORS'''
    found = []
    if _forwards_locally(transport):
        found.append('local port forwarding')
    if _forwards_remotely(transport):
        found.append('remote port forwarding')
    # The last: what this channel needs changes how all channels are heard.
    return [*_on_a_session(transport), *found]


def _forwards_locally(transport: hardening.Transport) -> bool:
    try:
        opened = transport.open_channel('direct-tcpip', _NOWHERE, _NOWHERE)
    except library.paramiko.ssh_exception.ChannelException as error:
        return error.code == _CONNECT_FAILED
    opened.close()
    # or its end would be heard as that of the session channel
    transport.forget(opened)
    return True


def _forwards_remotely(transport: hardening.Transport) -> bool:
    # Port 0 is one that the host chooses, and says.
    answer = transport.global_request('tcpip-forward', ('127.0.0.1', 0))
    if answer is None:
        # or the connection is gone, which the next question then finds
        return False
    where = ('127.0.0.1', answer.get_int())
    transport.global_request('cancel-tcpip-forward', where)
    return True


def _on_a_session(transport: hardening.Transport) -> Iterator[str]:
    answers = _Answers()
    opened = transport.open_command(answers)
    number = rfc4251.pack_number(opened.remote_chanid)
    for grant, (name, body) in _REQUESTS.items():
        answers.expect()
        request = bytes([channel_receiver.REQUEST]) + number
        transport.send(request + rfc4251.pack(name) + b'\1' + body)
        if answers.take():
            yield grant
    transport.send(bytes([channel_receiver.CLOSE]) + number)
    transport.forget(opened)


class _Answers:
    '''hears what a session channel answers, in place of a ChannelReceiver'''

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[bool | None] = queue.SimpleQueue()
        self._expected = self._over = False

    def expect(self) -> None:
        self._expected = True

    def take(self) -> bool:
        '''whether the request was granted; its wait ends with the connection

        Raises EOFError where there is no answer.
        '''
        answer = self._queue.get()
        if answer is None:
            raise EOFError
        return answer

    def hear(self, number: int, body: bytes) -> None:
        if number == channel_receiver.CLOSE:
            self.hang_up()
        if number in (channel_receiver.SUCCESS, channel_receiver.FAILURE):
            if not self._expected:
                raise channel_receiver.ViolationError(
                    'an answer to no question'
                )
            self._expected = False
            self._queue.put(number == channel_receiver.SUCCESS)

    def hang_up(self) -> None:
        if not self._over:
            self._over = True
            self._queue.put(None)
