# session.py - one guarded SSH session
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''one guarded SSH session with an other side that is not trusted

The only file that imports paramiko. Packets, cryptography, key exchange and
login are left to it; the rest is not: how long anything is waited for, which
host key and which private key are right, what a remote command said, how it
ended, and what may be told of an error.
'''

from __future__ import annotations

import dataclasses
import io
import socket
import subprocess
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mercurial import demandimport

from . import (
    channel_receiver,
    config as configmod,
    connection,
    connection_chain,
    deadline_socket,
    errors as errorsmod,
    hardening,
    hostkeys as hostkeysmod,
    identity as identitymod,
    knownhosts,
)

with demandimport.deactivated():
    # A third of the time to import paramiko goes to invoke, which it can do
    # without; see _Programs.
    _modules: dict[str, Any] = sys.modules
    _hidden = _modules.setdefault('invoke', None) is None
    try:
        with warnings.catch_warnings():
            # on what some releases of cryptography mean to drop: not news
            # for a pusher's terminal
            warnings.simplefilter('ignore')
            import paramiko
    finally:
        if _hidden:
            del _modules['invoke']

SessionError = errorsmod.SessionError
ConfigurationError = errorsmod.ConfigurationError
Expired = errorsmod.Expired
Session = connection.Session
Agreed = connection.Agreed
End = channel_receiver.End

_CONFIG = '~/.ssh/config'
# in seconds
_LONGEST_PROGRAM = 15

# What paramiko raises for what the other side sent or did, and what we do;
# the transport makes one of these of whatever else ended it.
_ERRORS = (
    paramiko.SSHException,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    channel_receiver.ViolationError,
    SessionError,
)


class _Programs:
    '''what paramiko wants of invoke, for `Match exec` in ssh_config

    invoke itself would read the standard input of the server process, which
    is what the pusher's hg says.
    '''

    @staticmethod
    def run(command: str, **options: Any) -> Any:
        try:
            done = subprocess.run(
                ['/bin/sh', '-c', command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_LONGEST_PROGRAM,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SessionError('a Match exec in the ssh config hangs') from None
        return types.SimpleNamespace(ok=done.returncode == 0)


paramiko.config.invoke = _Programs
# It stands for %l, and is asked for with any IdentityFile: ssh asks no DNS.
paramiko.config.LazyFqdn = lambda config, host=None: socket.gethostname()


class _Packets(hardening.Packets, paramiko.packet.Packetizer):
    pass


class _Transport(hardening.Transport, paramiko.Transport):
    packets = _Packets
    errors = _ERRORS
    refusal = paramiko.ChannelException
    exchange = ''

    def send(self, message: bytes) -> None:
        self._send_user_message(paramiko.Message(message))

    def _verify_key(self, blob: bytes, signature: Any) -> None:
        # the only moment at which paramiko knows both
        kind = type(self.kex_engine)
        names = (n for n in self.preferred_kex if self._kex_info[n] is kind)
        self.exchange = next(names, '')
        super()._verify_key(blob, signature)


def open(
    host: str,
    *,
    port: int | None = None,
    user: str | None = None,
    identity: str | None = None,
    hostkeys: Sequence[str] = (),
    knownhosts: Sequence[str] = (),
    connect_timeout: float = 15.0,
    config_path: str = _CONFIG,
    address: str | None = None,
    deadline: deadline_socket.Deadline | None = None,
) -> Session:
    '''connect and log in to ``host`` within ``connect_timeout`` seconds

    What is not given comes from the ssh_config at ``config_path``, then from
    OpenSSH's defaults. If ``hostkeys`` (`TYPE BASE64`) are given, only they
    count; else, if given, only the files ``knownhosts``. A jump host has its
    own key, if one is configured, and its own host key. ``address`` is to be
    one of the host's; else all of them are tried. ``limit`` is for whoever
    may want to end it all. Raises SessionError.
    '''
    settings = connection_chain.Settings(
        config_path, identity, knownhosts, connect_timeout
    )
    library = connection_chain.Library(
        _Transport, _log_in, _key, _options, _ERRORS
    )
    way = connection_chain.ConnectionChain(
        library, settings, deadline or deadline_socket.Deadline()
    )
    way.await_connection()
    try:
        there = way.find(host, port, user)
        if address:
            there = dataclasses.replace(there, host=address)
        way.connect(there, hostkeys)
    except SessionError as error:
        error.step = way.step
        way.close()
        raise
    except BaseException:
        way.close()
        raise
    return Session(way)


class IncompatibleError(SessionError):
    '''no algorithm, or no type of host key, in common'''


def find(
    host: str, port: int | None, user: str | None
) -> configmod.Destination:
    '''where ``host`` leads, as open() goes there. Raises SessionError'''
    return configmod.find(_CONFIG, _options, host, port, user)


def exchange_keys(
    policy: hostkeysmod.HostKeyPolicy,
    identity: str,
    patience: float = 15.0,
) -> None:
    '''exchange keys with ``policy.host``, which ``policy`` judges, and go

    Nobody logs in there, but to jump hosts as open() does, and all within
    ``patience`` seconds. Raises SessionError.
    '''

    def transport(
        line: deadline_socket.DeadlineSocket, other: hostkeysmod.HostKeyPolicy
    ) -> Any:
        return _Transport(
            line,
            policy if other.host is policy.host else other,
        )

    def log_in(made: Any, user: str, keys: Sequence[Any]) -> None:
        if made.policy is not policy:
            _log_in(made, user, keys)

    settings = connection_chain.Settings(_CONFIG, identity, (), patience)
    library = connection_chain.Library(
        transport, log_in, _key, _options, _ERRORS
    )
    way = connection_chain.ConnectionChain(
        library, settings, deadline_socket.Deadline()
    )
    way.await_connection()
    try:
        way.connect(policy.host)
    except SessionError as error:
        if isinstance(error.__context__, paramiko.IncompatiblePeer):
            raise IncompatibleError(error.reason, error.remedy) from None
        raise
    finally:
        way.close()


def public_key(path: str) -> knownhosts.Key:
    '''the public half of the private key at ``path``. Raises SessionError'''
    found = identitymod.read(path)
    key = _key(found)
    if key is None:
        raise identitymod.unusable(found)
    return knownhosts.key_of(key.asbytes())


def _log_in(transport: Any, user: str, keys: Sequence[Any]) -> None:
    '''log in with the first key that is accepted'''
    refused = False
    for key in keys:
        # what it said of others, or before it was known who it is
        transport.debug_messages.clear()
        try:
            # What else the server wants besides a key is what is returned.
            if not transport.auth_publickey(user, key):
                return
        except paramiko.AuthenticationException:
            if not transport.is_active():
                break
        refused = True
    if not refused:
        raise EOFError
    raise ConfigurationError(
        f'{transport.policy.host.host} refused the key as {user}',
        'authorized_keys there needs its public half; the log of sshd says '
        'more',
    )


def _key(identity: identitymod.Identity, certificate: str = '') -> Any:
    '''the key ``identity``; None if there is none, or not this certificate'''
    kinds = {
        'ssh-ed25519': paramiko.Ed25519Key,
        'ssh-rsa': paramiko.RSAKey,
        'ecdsa': paramiko.ECDSAKey,
    }
    kind = kinds.get(identity.type.partition('-sha2')[0])
    if kind is None:
        return None
    try:
        key = kind.from_private_key(io.StringIO(identity.text))
        if certificate:
            key.load_certificate(certificate)
            blob = key.public_blob.key_blob
            if not identitymod.is_certified(key.asbytes(), blob):
                return None
        return key
    except (
        paramiko.SSHException,
        ValueError,
        LookupError,
        AssertionError,
    ):
        return None


class _Config(paramiko.SSHConfig):
    # Its tokens are expanded by sshconfig, as ssh does it.
    TOKENS_BY_CONFIG_KEY = {  # noqa: RUF012 (paramiko's own)
        **paramiko.SSHConfig.TOKENS_BY_CONFIG_KEY,
        'proxycommand': [],
    }

    def _lookup(
        self, hostname: str, options: Any = None, *more: Any, **how: Any
    ) -> Any:
        if how.get('final') and not how.get('canonical'):
            # Newer releases of paramiko pass through the file twice, ssh
            # where that is asked for: a Match may not see what stands below.
            return self._expand_variables(options, hostname)
        return super()._lookup(hostname, options, *more, **how)


def _options(text: str, host: str) -> Mapping[str, Any]:
    '''what the ssh_config says for a host. Raises ValueError'''
    try:
        return _Config.from_text(text).lookup(host)
    except paramiko.SSHException as error:
        raise ValueError(str(error)) from None
