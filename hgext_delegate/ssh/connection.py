# SPDX-License-Identifier: GPL-2.0-or-later
'''one logged-in connection, and the one command that it runs'''

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable
from typing import Any

from . import (
    channel,
    channel_receiver,
    deadline_socket,
    errors,
    hardening,
    knownhosts,
    library,
    link as linkmod,
    probe,
)

# in bytes; Linux takes 128 KiB as one argument
_LONGEST_COMMAND = 100_000
# in seconds; what is prepared may have to wait for a large push
_LONGEST_WAIT = 600


@dataclasses.dataclass(frozen=True)
class Agreed:
    '''what a connection has come to: the keys of both sides, algorithms'''

    hostkey: knownhosts.Key
    key: knownhosts.Key
    algorithms: tuple[str, ...]


class Session:
    '''a connection that is logged in; session.open() makes it'''

    def __init__(self, link: linkmod.Link):
        self._link = link
        self._inbox: channel_receiver.ChannelReceiver
        self._channel: Any = None
        self._command: channel.Command
        self._standby = ''

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def prepare(self, standby: str = '') -> None:
        '''open the channel for execute(), which is half of its time

        Nothing is run but ``standby``: a command that waits for the input of
        execute(), and is then the one that is run. Raises SessionError.
        '''
        link = self._link
        self._inbox = channel_receiver.ChannelReceiver(hardening.WINDOW)
        link.step = errors.OPENING
        link.await_connection()
        with link.worded():
            self._channel = opened = link.transport.open_command(self._inbox)
        self._command = channel.Command(
            self._inbox,
            self._send,
            opened.remote_chanid,
            min(opened.out_max_packet_size, hardening.PACKET),
        )
        self._standby = standby
        if standby:
            self._command.ask(_checked(standby))
        link.deadline.set(_LONGEST_WAIT, 'not used')

    def execute(
        self,
        command: str,
        stdin: bytes,
        receive: Callable[[int, bytes], None],
        tick: Callable[[], None],
        *,
        idle_timeout: float,
        timeout: float,
        more: channel.Buffer = b'',
    ) -> channel_receiver.End:
        '''run ``command`` to its end, and say which it was

        Its input is ``stdin`` and then ``more``. ``receive(1 or 2, data)``
        gets standard output and error in the order of their arrival, and
        ``tick()`` is called about every 0.25 s, both in this thread. An end is
        the exit status (or signal) and the end of all output, both received;
        or, where something keeps the output open, the silence after the
        status. Raises SessionError: Expired after
        ``idle_timeout`` seconds without output and after ``timeout`` seconds.
        '''
        text = _checked(command)
        if not self._channel:
            self.prepare()
        link, opened, run = self._link, self._channel, self._command
        if not self.is_ready():
            # what was prepared is gone again, and has got nothing
            raise errors.SessionError(f'session refused by {link.host}')
        self._channel = None
        await_output = _output_limit(link.deadline, idle_timeout, timeout)

        def hand_on(stream: int, data: bytes) -> None:
            await_output()
            receive(stream, data)

        await_output()
        link.step = errors.RUNNING
        if not self._standby:
            run.ask(text)
        run.run(stdin, hand_on, tick, more)
        link.transport.forget(opened)
        link.deadline.set(math.inf, '')
        return self._end(run.is_kept_open)

    def agreed(self) -> Agreed:
        '''with what the connection was made'''
        made = self._link.transport
        ours = made.auth_handler.private_key
        names = [made.exchange, made.host_key_type, made.remote_cipher]
        if 'gcm' not in made.remote_cipher:
            names.append(made.remote_mac)
        return Agreed(
            knownhosts.key_of(made.get_remote_server_key().asbytes()),
            knownhosts.key_of(ours.asbytes()),
            tuple(names),
        )

    def granted(self) -> list[str]:
        '''which of probe.GRANTS this login has. Raises SessionError

        Nothing is run, and nothing can be run after it.
        '''
        link = self._link
        link.step = errors.OPENING
        link.await_connection()
        with link.worded():
            return probe.granted(link.transport)

    def forced(self) -> bool | None:
        '''whether sshd says that the key may run one command alone

        None where it has said nothing of the key. To be asked after granted():
        by then all that sshd has to say has arrived.
        '''
        found = [
            match.groups()
            for remark in self._link.transport.debug_messages
            if (match := re.search(rb'(.*): key options:(.*)', remark))
        ]
        words: list[bytes] = []
        # It tells of each line that it looks at, and twice of the last,
        # which let us in: once for a certificate, say.
        for place, options in reversed(found):
            if place != found[-1][0]:
                break
            words += options.split()
        return b'command' in words if found else None

    def is_ready(self) -> bool:
        '''whether what was prepared is still there, as far as is known'''
        return self._link.transport.is_active() and self._inbox.is_waiting()

    def cancel(self) -> None:
        '''end what is being done; from any thread'''
        self._link.stop('cancelled')

    def close(self) -> None:
        '''end the connection and all that belongs to it; never raises'''
        self._link.close()

    def _send(self, message: bytes) -> None:
        try:
            self._link.transport.send(message)
        except library.ERRORS:
            # The far side may have said all before it went: it is heard to
            # its end, which then comes.
            self._link.shut()

    def _end(self, is_kept_open: bool) -> channel_receiver.End:
        link, inbox = self._link, self._inbox
        if inbox.end and (inbox.eof or inbox.closed or is_kept_open):
            return dataclasses.replace(inbox.end, is_kept_open=is_kept_open)
        if inbox.refused:
            raise errors.SessionError(f'session refused by {link.host}')
        if inbox.closed:
            reason = f'closed by {link.host} without an exit status'
            raise errors.SessionError(reason, started=True)
        error = link.explain(link.transport.get_exception() or EOFError())
        if link.deadline.expired and inbox.end:
            error.remedy = (
                'the command has ended, but what it started keeps its output '
                'open'
            )
        raise error


def _checked(command: str) -> bytes:
    text = command.encode('utf-8', 'surrogateescape')
    if b'\0' in text or len(text) > _LONGEST_COMMAND:
        # sshd drops the connection at the one, execve fails at the other.
        raise errors.ConfigurationError('the command has a NUL or is too long')
    return text


def _output_limit(
    deadline: deadline_socket.Deadline, idle_timeout: float, timeout: float
) -> Callable[[], None]:
    '''what to call at each output: it sets the deadline for the next'''
    ending = time.monotonic() + timeout

    def await_output() -> None:
        left = ending - time.monotonic()
        if left < idle_timeout:
            deadline.set(left, f'not finished after {timeout:g} s')
        else:
            deadline.set(idle_timeout, f'no output for {idle_timeout:g} s')

    return await_output
