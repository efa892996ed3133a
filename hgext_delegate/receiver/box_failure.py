# SPDX-License-Identifier: GPL-2.0-or-later
'''why there is no box, and what to do, of what bubblewrap has said'''

from __future__ import annotations

import re

INSTALL = 'as root: apt-get install bubblewrap; or dnf install bubblewrap'

_ALLOW = 'let the host allow it; without --box a script can keep the account'
# (in what bubblewrap says, reason)
_TABLE = (
    ('uid map|gid map|namespace', 'this host forbids user namespaces'),
    ('mount proc', 'this host, or its container, forbids a /proc of its own'),
)
_UBUNTU = (
    'apt-get install apparmor-profiles && '
    'cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict '
    '/etc/apparmor.d/ && systemctl reload apparmor'
)
# (a setting of Linux, its value that forbids them, what to do)
_SETTINGS = (
    ('kernel/apparmor_restrict_unprivileged_userns', '1', _UBUNTU),
    (
        'kernel/unprivileged_userns_clone',
        '0',
        'sysctl -w kernel.unprivileged_userns_clone=1',
    ),
    (
        'user/max_user_namespaces',
        '0',
        'sysctl -w user.max_user_namespaces=9999',
    ),
)


def explain(said: str) -> tuple[str, str]:
    '''reason and remedy'''
    lines = [line for line in said.splitlines() if line.startswith('bwrap: ')]
    last = lines[-1] if lines else said.strip().rpartition('\n')[2]
    shown = ''.join(c if c.isprintable() else '?' for c in last)[:200]
    for pattern, reason in _TABLE:
        if re.search(pattern, shown):
            return 'there is no box: %s (%s)' % (reason, shown), _remedy()
    return 'there is no box: %s' % shown, _ALLOW


def _remedy() -> str:
    for name, value, remedy in _SETTINGS:
        if _setting(name) == value:
            return 'as root: %s' % remedy
    return _ALLOW


def _setting(name: str) -> str | None:
    try:
        with open('/proc/sys/' + name, encoding='ascii') as file:
            return file.read().strip()
    except OSError:
        return None
