# SPDX-License-Identifier: GPL-2.0-or-later
'''what paramiko leaves open to the other side of a connection, closed

Its Packetizer and its Transport, of 2.12 to 5.1. The other side is not
trusted: nothing it sends may cost memory or time without limit, be taken for
more than it is, or come to the server's standard error.
'''

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import math
from collections.abc import Sequence
from typing import Any

from . import (
    algorithms,
    channel_receiver,
    deadline_socket,
    errors as errorsmod,
    hostkeys,
    knownhosts,
    library,
    refusal,
    rfc4251,
)

WINDOW = 2 * 1024 * 1024
PACKET = 32 * 1024

# PACKET_MAX_SIZE of OpenSSH, and a MAC
_LONGEST_PACKET = 256 * 1024 + 64
_LONGEST_BANNER = 64 * 1024
_MOST_EXTENSIONS = 64
_MOST_DEBUG_MESSAGES = 20
_LONGEST_DEBUG_MESSAGE = 1000

# of OpenSSH, where it hangs up after MaxAuthTries
_FED_UP = b'Too many authentication failures'
# in bytes; the first line may tell what is there instead of sshd
_LONGEST_OPENING = 200

# RFC 4250 4.1.2, RFC 8308 2.3
_SERVICE_ACCEPT = 6
_EXT_INFO = 7
_USERAUTH = range(50, 80)

_LOG = 'hgext_delegate.paramiko'
logging.getLogger(_LOG).addHandler(logging.NullHandler())
logging.getLogger(_LOG).propagate = False


class Packets(library.paramiko.packet.Packetizer):
    '''packets and banners have limits

    ``logged_in`` is set once nothing about logging in is to come any more;
    ``opening`` is what the other side begins with.
    '''

    logged_in = False
    opening = b''
    _banner = 0

    def start_handshake(self, timeout: float) -> None:
        '''start no timer thread: the wire has a limit of its own'''

    def read_all(self, size: int, check_rekey: bool = False) -> bytes:
        if not 0 <= size <= _LONGEST_PACKET:
            raise channel_receiver.ViolationError(
                'a packet of impossible length'
            )
        return super().read_all(size, check_rekey)

    def write_all(self, out: bytes) -> None:
        try:
            super().write_all(out)
        except library.ERRORS:
            # Who hangs up at once may have said why.
            with contextlib.suppress(*library.ERRORS):
                if not self.opening:
                    self._read_timeout(0)
            raise

    def read_message(self) -> tuple[int, Any]:
        number, message = super().read_message()
        if number == _EXT_INFO:
            # paramiko would read as many as this number says.
            if message.get_int() > _MOST_EXTENSIONS:
                raise channel_receiver.ViolationError('too many extensions')
            message.rewind()
        elif number == _SERVICE_ACCEPT or number in _USERAUTH:
            # paramiko would answer each with another login.
            if self.logged_in:
                raise channel_receiver.ViolationError('another login')
        return number, message

    def _read_timeout(self, timeout: float) -> bytes:
        data = super()._read_timeout(math.inf)
        self._banner += len(data)
        self.opening = (self.opening + data)[:_LONGEST_OPENING]
        if self._banner > _LONGEST_BANNER:
            raise channel_receiver.ViolationError('an endless banner')
        return data


class Transport(library.paramiko.transport.Transport):
    '''algorithms, host key, login, channels, and errors of our own

    ``exchange`` is the key exchange that was agreed on. Whatever ends it is
    one of library.ERRORS.
    '''

    exchange = ''
    _is_fed_up = False
    _CLIENT_ID = 'hgext_delegate'
    _channel_handler_table: dict[int, Any]
    _kex_info = algorithms.EXCHANGES

    def __init__(
        self,
        line: deadline_socket.DeadlineSocket,
        policy: hostkeys.HostKeyPolicy,
    ):
        super().__init__(
            line, default_window_size=WINDOW, default_max_packet_size=PACKET
        )
        self.packetizer = Packets(line)
        self.set_log_channel(_LOG)
        self.auth_timeout = None
        self.policy = policy
        offered = algorithms.offered(policy.host)
        self._preferred_kex = offered['KexAlgorithms']
        self._preferred_ciphers = offered['Ciphers']
        self._preferred_macs = offered['MACs']
        self._preferred_keys = policy.order(offered['HostKeyAlgorithms'])
        self._preferred_pubkeys = offered['PubkeyAcceptedAlgorithms']
        # what sshd says for debugging, as ssh -v shows it
        self.debug_messages: collections.deque[bytes] = collections.deque(
            maxlen=_MOST_DEBUG_MESSAGES
        )
        self._inbox: channel_receiver.Listener | None = None
        # Before open_command() no channel has data for us.
        self._channel_handler_table = {
            **self._channel_handler_table,
            channel_receiver.DATA: _ignore,
            channel_receiver.EXTENDED_DATA: _ignore,
        }

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        # paramiko adds certificates, which nobody here could judge
        return self._preferred_keys

    def log_in(
        self, user: str, keys: Sequence[library.paramiko.pkey.PKey]
    ) -> None:
        '''log in with the first of ``keys`` that is accepted

        Raises ConfigurationError if none is.
        '''
        refused = []
        for key in keys:
            # drop what was said about another key, or before the login
            self.debug_messages.clear()
            try:
                # The result lists what the server wants besides the key.
                if not self.auth_publickey(user, key):
                    self.packetizer.logged_in = True
                    return
            except library.paramiko.ssh_exception.AuthenticationException:
                if not self.is_active() and not self._is_fed_up:
                    break
            refused.append(knownhosts.key_of(key.asbytes()))
            if self._is_fed_up:
                break
        if not refused:
            raise EOFError
        if self._is_fed_up and keys[1:]:
            raise errorsmod.ConfigurationError(
                f'{self.policy.host.host} hung up after {len(refused)} key(s)',
                f'name the right one as {self.policy.host.target}:identity; or '
                'see MaxAuthTries there',
            )
        raise refusal.refused(self.policy.host, refused)

    def send(self, message: bytes) -> None:
        self._send_user_message(library.paramiko.message.Message(message))

    def open_command(self, inbox: channel_receiver.Listener) -> Any:
        '''open a session channel of which ``inbox`` gets every message'''
        self._inbox = inbox
        if not self.active:
            raise self.get_exception() or EOFError()
        self._channel_handler_table = {
            number: functools.partial(_hear, number)
            for number in channel_receiver.NUMBERS
        }
        opened = self.open_session()
        room = rfc4251.pack_number(opened.out_window_size)
        inbox.hear(channel_receiver.WINDOW_ADJUST, room)
        if not self.active:
            raise EOFError
        return opened

    def forget(self, opened: Any) -> None:
        '''hear no more of a channel'''
        opened.closed = True
        self._unlink_channel(opened.chanid)

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - nobody is above a thread
            # paramiko trips over some errors, such as an OSError without
            # a number, and Python would print this one.
            self.saved_exception = error
        finally:
            self.active = False
            self.packetizer.close()
            if self._inbox:
                self._inbox.hang_up()

    def get_exception(self) -> Exception | None:
        error = super().get_exception()
        if error is None:
            return None if self.active else EOFError()
        if isinstance(error, library.ERRORS):
            return error
        return channel_receiver.ViolationError(
            f'what makes a {type(error).__name__}'
        )

    def _parse_kex_init(self, message: Any) -> None:
        try:
            super()._parse_kex_init(message)
        except library.paramiko.ssh_exception.IncompatiblePeer:
            message.rewind()
            message.get_bytes(16)
            theirs = [message.get_list() for _ in range(6)]
            ours = [self.preferred_kex, self.preferred_keys]
            ours += [self.preferred_ciphers] * 2 + [self.preferred_macs] * 2
            error = algorithms.explain(str(self.policy.host), ours, theirs)
            raise error or channel_receiver.ViolationError(
                'offering no way without compression'
            ) from None

    def _parse_disconnect(self, message: Any) -> None:
        message.get_int()
        self._is_fed_up = message.get_string() == _FED_UP
        message.rewind()
        super()._parse_disconnect(message)

    def _parse_debug(self, message: Any) -> None:
        message.get_boolean()
        self.debug_messages.append(
            message.get_string()[:_LONGEST_DEBUG_MESSAGE]
        )

    def _verify_key(self, blob: bytes, signature: Any) -> None:
        # the only moment at which paramiko knows both
        kind = type(self.kex_engine)
        names = (n for n in self.preferred_kex if self._kex_info[n] is kind)
        self.exchange = next(names, '')
        # Before the signature, and before anything is sent with these keys;
        # at each rekeying too.
        self.policy.check(blob)
        super()._verify_key(blob, signature)


def _hear(number: int, opened: Any, message: Any) -> None:
    opened.transport._inbox.hear(number, message.get_remainder())


def _ignore(opened: Any, message: Any) -> None:
    pass
