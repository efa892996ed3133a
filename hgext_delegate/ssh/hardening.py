# hardening.py - what paramiko leaves open, closed
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what paramiko leaves open to the other side of a connection, closed

Mixins for its Packetizer and its Transport, of 2.12 to 5.1. The other side is
not trusted: nothing it sends may cost memory or time without limit, be taken
for more than it is, or come to the server's standard error.
'''

from __future__ import annotations

import collections
import functools
import logging
import math
from typing import Any

from . import channel_receiver, hostkeys, rfc4251

WINDOW = 2 * 1024 * 1024
PACKET = 32 * 1024

# PACKET_MAX_SIZE of OpenSSH, and a MAC
_LONGEST_PACKET = 256 * 1024 + 64
_LONGEST_BANNER = 64 * 1024
_MOST_EXTENSIONS = 64
_MOST_DEBUG_MESSAGES = 20
_LONGEST_DEBUG_MESSAGE = 1000

# RFC 4250 4.1.2, RFC 8308 2.3
_SERVICE_ACCEPT = 6
_EXT_INFO = 7
_USERAUTH = range(50, 80)

_LOG = 'hgext_delegate.paramiko'
logging.getLogger(_LOG).addHandler(logging.NullHandler())
logging.getLogger(_LOG).propagate = False

# What OpenSSH 9 offers, as far as paramiko knows it. GCM is the fastest, and
# curve25519 costs a fraction of the exchange with ML-KEM.
_KEX = (
    'curve25519-sha256@libssh.org',
    'mlkem768x25519-sha256',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group16-sha512',
    'diffie-hellman-group14-sha256',
    'diffie-hellman-group-exchange-sha256',
)
_CIPHERS = (
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
)
_MACS = (
    'hmac-sha2-256-etm@openssh.com',
    'hmac-sha2-512-etm@openssh.com',
    'hmac-sha2-256',
    'hmac-sha2-512',
)
_KEYS = (
    'ssh-ed25519',
    'ecdsa-sha2-nistp256',
    'ecdsa-sha2-nistp384',
    'ecdsa-sha2-nistp521',
    'rsa-sha2-512',
    'rsa-sha2-256',
)


class Packets:
    '''for Packetizer: packets and banners have limits

    ``logged_in`` is set once nothing about logging in is to come any more.
    '''

    logged_in = False
    _banner = 0

    def start_handshake(self, timeout: float) -> None:
        '''start no timer thread: the wire has a limit of its own'''

    def read_all(self, size: int, check_rekey: bool = False) -> bytes:
        if not 0 <= size <= _LONGEST_PACKET:
            raise channel_receiver.ViolationError(
                'a packet of impossible length'
            )
        return super().read_all(size, check_rekey)  # type: ignore[misc]

    def read_message(self) -> tuple[int, Any]:
        number, message = super().read_message()  # type: ignore[misc]
        if number == _EXT_INFO:
            # paramiko counts as far as it is told.
            if message.get_int() > _MOST_EXTENSIONS:
                raise channel_receiver.ViolationError('too many extensions')
            message.rewind()
        elif number == _SERVICE_ACCEPT or number in _USERAUTH:
            # paramiko would log in again for each.
            if self.logged_in:
                raise channel_receiver.ViolationError('another login')
        return number, message

    def _read_timeout(self, timeout: float) -> bytes:
        data = super()._read_timeout(math.inf)  # type: ignore[misc]
        self._banner += len(data)
        if self._banner > _LONGEST_BANNER:
            raise channel_receiver.ViolationError('an endless banner')
        return data


class Transport:
    '''for Transport: algorithms, host key, channels, and its own errors

    ``packets`` is the class for packets and ``errors`` are the exceptions
    that callers expect; whatever else comes up is made one of them. A channel
    that is not opened raises ``refusal``, whose ``code`` is the reason.
    '''

    packets: Any
    errors: tuple[type[Exception], ...]
    refusal: type[Exception]

    active: bool
    packetizer: Any
    _kex_info: dict[str, Any]
    _cipher_info: dict[str, Any]
    _mac_info: dict[str, Any]
    saved_exception: Exception | None
    _channel_handler_table: dict[int, Any]

    def __init__(self, line: Any, policy: hostkeys.HostKeyPolicy):
        super().__init__(  # type: ignore[call-arg]
            line,
            default_window_size=WINDOW,
            default_max_packet_size=PACKET,
        )
        self.packetizer = self.packets(line)
        self.set_log_channel(_LOG)  # type: ignore[attr-defined]
        self.auth_timeout = None
        self.policy = policy
        # what sshd says for debugging, as ssh -v shows it
        self.debug_messages: collections.deque[bytes] = collections.deque(
            maxlen=_MOST_DEBUG_MESSAGES
        )
        self._inbox: channel_receiver.ChannelReceiver | None = None
        self._channel_handler_table = {
            **self._channel_handler_table,
            channel_receiver.DATA: _feed,
            channel_receiver.EXTENDED_DATA: _ignore,
        }

    @property
    def preferred_kex(self) -> tuple[str, ...]:
        return tuple(name for name in _KEX if name in self._kex_info)

    @property
    def preferred_ciphers(self) -> tuple[str, ...]:
        return tuple(name for name in _CIPHERS if name in self._cipher_info)

    @property
    def preferred_macs(self) -> tuple[str, ...]:
        return tuple(name for name in _MACS if name in self._mac_info)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        # No certificates, which nothing here could judge.
        return self.policy.order(_KEYS)

    @property
    def preferred_pubkeys(self) -> tuple[str, ...]:
        return _KEYS

    def open_command(self, inbox: channel_receiver.ChannelReceiver) -> Any:
        '''open a session channel of which ``inbox`` gets every message'''
        self._inbox = inbox
        if not self.active:
            raise self.get_exception() or EOFError()
        self._channel_handler_table = {
            number: functools.partial(_hear, number)
            for number in channel_receiver.NUMBERS
        }
        opened = self.open_session()  # type: ignore[attr-defined]
        room = rfc4251.pack_number(opened.out_window_size)
        inbox.hear(channel_receiver.WINDOW_ADJUST, room)
        if not self.active:
            raise EOFError
        return opened

    def forget(self, opened: Any) -> None:
        '''hear no more of a channel'''
        opened.closed = True
        self._unlink_channel(opened.chanid)  # type: ignore[attr-defined]

    def run(self) -> None:
        try:
            super().run()  # type: ignore[misc]
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
        error = super().get_exception()  # type: ignore[misc]
        if error is None:
            return None if self.active else EOFError()
        if isinstance(error, self.errors):
            return error
        return channel_receiver.ViolationError(
            f'what makes a {type(error).__name__}'
        )

    def _parse_debug(self, message: Any) -> None:
        message.get_boolean()
        self.debug_messages.append(
            message.get_string()[:_LONGEST_DEBUG_MESSAGE]
        )

    def _verify_key(self, blob: bytes, signature: Any) -> None:
        # Before the signature, and before anything is sent with these keys;
        # at each rekeying too.
        self.policy.check(blob)
        super()._verify_key(blob, signature)  # type: ignore[misc]


def _hear(number: int, opened: Any, message: Any) -> None:
    opened.transport._inbox.hear(number, message.get_remainder())


def _feed(opened: Any, message: Any) -> None:
    '''data on the channel of a jump host, which paramiko would just store'''
    data = rfc4251.string(message.get_remainder())
    if len(opened.in_buffer) + len(data) > WINDOW:
        raise channel_receiver.ViolationError(
            'more data than its window allows'
        )
    opened.in_buffer.feed(data)


def _ignore(opened: Any, message: Any) -> None:
    pass
