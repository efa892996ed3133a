# SPDX-License-Identifier: GPL-2.0-or-later
'''paramiko, imported so that it works inside hg

The only file that imports it. Packets, cryptography, key exchange and login
are left to it; the rest is not: how long anything is waited for, which host
key and which private key are right, what a remote command said, how it ended,
and what may be told of an error.
'''

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from mercurial import demandimport

from . import channel_receiver, errors


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    '''import modules of paramiko without the package's own ``__init__``

    That takes a third of the time, for SFTP, the agent and a version number.
    Whoever wants more of the package still gets it. Another third goes to
    invoke, which paramiko needs for a part of its ssh_config alone.
    '''
    modules: dict[str, Any] = sys.modules
    found = importlib.util.find_spec('paramiko')
    if 'paramiko' in modules or found is None:
        yield
        return
    package = importlib.util.module_from_spec(found)
    # what paramiko.transport builds the client's name from; we set our own
    package.__dict__['__version__'] = ''

    def complete(name: str) -> Any:
        # PEP 562: the name is asked for and is not there yet
        del package.__dict__['__getattr__']
        assert found.loader
        found.loader.exec_module(package)
        return getattr(package, name)

    modules['paramiko'] = package
    hidden = modules.setdefault('invoke', None) is None
    try:
        yield
    finally:
        if hidden:
            del modules['invoke']
        del package.__dict__['__version__']
        package.__dict__['__getattr__'] = complete


with demandimport.deactivated(), warnings.catch_warnings(), _lean():
    # What some releases of cryptography mean to drop is no news for a pusher's
    # terminal.
    warnings.simplefilter('ignore')
    import paramiko.transport
    from cryptography import exceptions
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

__all__ = (
    'ERRORS', 'KEY_ERRORS', 'ec', 'ed25519', 'paramiko', 'rsa',
    'serialization',
)  # fmt: skip

# What paramiko raises for what the other side sent or did, and what we do;
# the transport makes one of these of whatever else ended it.
ERRORS = (
    paramiko.ssh_exception.SSHException,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    channel_receiver.ViolationError,
    errors.SessionError,
)

# what is raised for a private key that is damaged, or of no known kind
KEY_ERRORS = (ValueError, TypeError, exceptions.UnsupportedAlgorithm)
