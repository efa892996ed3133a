# SPDX-License-Identifier: GPL-2.0-or-later
'''paramiko, imported so that it works inside hg

The only file that imports it. Packets, cryptography, key exchange and login
are left to it; the rest is not: how long anything is waited for, which host
key and which private key are right, what a remote command said, how it ended,
and what may be told of an error.
'''

from __future__ import annotations

import sys
import warnings
from typing import Any

from mercurial import demandimport

from . import channel_receiver, errors

with demandimport.deactivated():
    # A third of the time to import paramiko goes to invoke, which it needs
    # for a part of its ssh_config alone.
    _modules: dict[str, Any] = sys.modules
    _hidden = _modules.setdefault('invoke', None) is None
    try:
        with warnings.catch_warnings():
            # What some releases of cryptography mean to drop is no news for
            # a pusher's terminal.
            warnings.simplefilter('ignore')
            import paramiko
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import ec, rsa
    finally:
        if _hidden:
            del _modules['invoke']

__all__ = ('ERRORS', 'ec', 'paramiko', 'rsa', 'serialization')

# What paramiko raises for what the other side sent or did, and what we do;
# the transport makes one of these of whatever else ended it.
ERRORS = (
    paramiko.SSHException,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    channel_receiver.ViolationError,
    errors.SessionError,
)
