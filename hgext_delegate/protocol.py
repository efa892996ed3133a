# protocol.py - what is said to the deploy side
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''protocol 1: the exec request and the object on standard input

Pure. What a pusher can name is data inside the object and nowhere else.
'''

from __future__ import annotations

import json
from typing import Any

PROTOCOL = 1

# What one object may hold of the pushes it is about, in bytes of JSON.
MAX_PUSHES = 1024 * 1024


def command(target: str, node: str) -> str:
    '''what is asked of the far side: four words that need no quoting'''
    return 'hg-delegate %d %s %s' % (PROTOCOL, target, node)


def compose_cancel(target: str, id: str) -> tuple[str, bytes]:
    '''the exec request and the object that end the delegation ``id``

    Only for our receiver: a plain forced command runs for whatever is asked.
    '''
    content = {'protocol': PROTOCOL, 'id': id}
    request = 'hg-delegate %d %s cancel' % (PROTOCOL, target)
    return request, json.dumps(content).encode('ascii') + b'\n'


def compose(
    repository: dict[str, str], row, pushes: list[dict[str, Any]]
) -> bytes:
    '''the object of protocol 1, one line of ASCII

    ``row`` has the journal's ``id``, ``target``, ``node``, ``previous`` and
    ``attempt``. ``pushes`` are in push order; the newest that fit are sent,
    and ``omitted`` counts the others.
    '''
    sent: list[dict[str, Any]] = []
    room = MAX_PUSHES
    for push in reversed(pushes):
        room -= len(json.dumps(push))
        if room < 0:
            break
        sent.insert(0, push)
    content = {
        'protocol': PROTOCOL,
        'id': row.id,
        'target': row.target,
        'repository': {k: _valid(text) for k, text in repository.items()},
        'node': row.node,
        'previous': row.previous,
        'pushes': sent,
        'attempt': row.attempt,
        'omitted': len(pushes) - len(sent),
    }
    return json.dumps(content).encode('ascii') + b'\n'


def _valid(text: str) -> str:
    # a path may hold bytes that are no UTF-8, which no other JSON reader takes
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
