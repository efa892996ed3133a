# SPDX-License-Identifier: GPL-2.0-or-later
'''host keys that a file of RevokedHostKeys names (ssh_config(5))

Such a file is a list of keys, or a KRL, of which ssh-keygen is asked. One that
cannot be read revokes every key, as with ssh.
'''

from __future__ import annotations

import os
import tempfile

from . import (
    config,
    deadline_socket,
    errors,
    knownhosts,
    programs,
    regular_file,
)

# PROTOCOL.krl
_MAGIC = b'SSHKRL\n\0'
# in seconds
_PATIENCE = 15


def check(host: config.Destination, key: knownhosts.Key) -> None:
    '''raise ConfigurationError if ``key`` of ``host`` is revoked'''
    for path in host.revoked:
        name = os.path.basename(path)
        try:
            revoked = _is_revoked(path, key)
        except (OSError, EOFError):
            raise errors.ConfigurationError(
                f'RevokedHostKeys file {name} cannot be used',
                'until it can, no host key is trusted',
                detail=path,
            ) from None
        if revoked:
            raise errors.ConfigurationError(
                f'host key of {host} is revoked',
                f'{key.short} is revoked by {name}: the host needs a new key',
                detail=path,
            )


def _is_revoked(path: str, key: knownhosts.Key) -> bool:
    content = regular_file.read(path)[1]
    if not content.startswith(_MAGIC):
        lines = content.split(b'\n')
        return key in [knownhosts.parse_key(line.strip()) for line in lines]
    deadline = deadline_socket.Deadline()
    deadline.set(_PATIENCE, 'too late')
    with tempfile.NamedTemporaryFile('w') as file:
        file.write(f'{key.text}\n')
        file.flush()
        argv = ['ssh-keygen', '-Q', '-f', path, file.name]
        status, said, _lines = programs.run(argv, deadline)
    if status not in (0, 1) or not said:
        raise OSError(0, 'ssh-keygen cannot use it')
    return status == 1
