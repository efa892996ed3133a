# SPDX-License-Identifier: GPL-2.0-or-later
'''what a script is told of the request: its environment

What a pusher chose is data there, and bounded. Pure, but for what the account
itself has.
'''

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping

from .. import protocol

PATH = '/usr/local/bin:/usr/bin:/bin'
_UNPRINTABLE = re.compile(
    '[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)


def variables(deploy: protocol.Deploy, path: str) -> dict[str, str]:
    '''what tells a script of ``deploy``; ``path`` is the file of its object

    A pusher chose DELEGATE_PUSHER, so it is one line of text and bounded:
    what could act on a terminal is ``?``. The object has it as it was.
    '''
    pusher = _UNPRINTABLE.sub('?', deploy.pusher or '')
    return {
        'HG_NODE': deploy.node,
        'HG_PREVIOUS': deploy.previous or '',
        'DELEGATE_ID': deploy.id,
        'DELEGATE_TARGET': deploy.target,
        'DELEGATE_PUSHER': pusher[:1000],
        'DELEGATE_JSON': path,
    }


def whole(told: Mapping[str, str]) -> dict[str, str]:
    '''all that a script finds: ``told``, and nothing of the session's'''
    user = pwd.getpwuid(os.geteuid())
    environ = {
        'HOME': os.path.expanduser('~'),
        'LANG': 'C.UTF-8',
        'LOGNAME': user.pw_name,
        'PATH': PATH,
        'PYTHONUNBUFFERED': '1',
        'SHELL': user.pw_shell or '/bin/sh',
        'TERM': 'dumb',
        'USER': user.pw_name,
        **told,
    }
    runtime = '/run/user/%d' % os.geteuid()
    if os.path.isdir(runtime):
        # what systemctl --user goes by
        environ['XDG_RUNTIME_DIR'] = runtime
    return environ
