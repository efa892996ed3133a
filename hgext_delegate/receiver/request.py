# request.py - what a receiver is asked
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what a receiver is asked, read strictly

Pure. The other side is refused for whatever it is not known to send; what
a pusher chose leaves this file as data only.
'''

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from .. import errors
from . import strictjson

PROTOCOL = 1

DEPLOY = 'deploy'
CANCEL = 'cancel'
STATUS = 'status'

_TARGET = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z')
# Mercurial means no changeset by 40 zeroes, nor by 40 times f.
_NODE = re.compile(r'(?!0{40}|f{40})[0-9a-f]{40}\Z')
_ID = re.compile(r'[0-9a-f]{32}\Z')
_UNPRINTABLE = re.compile(
    '[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)

_is_node = strictjson.matches(_NODE)

_TEXT: strictjson.Rule = (strictjson.is_a(str), 'a string')
_COUNT: strictjson.Rule = (strictjson.is_a(int), 'a number')
_MAP: strictjson.Rule = (strictjson.is_a(dict), 'an object')
_LIST: strictjson.Rule = (strictjson.is_a(list), 'a list')
_NODE_OR_NULL: strictjson.Rule = (
    lambda v: v is None or _is_node(v),
    'a changeset of 40 hexadecimal digits or null',
)

_NAMED: dict[str, strictjson.Rule] = {
    'protocol': (
        lambda v: strictjson.is_a(int)(v) and v == PROTOCOL,
        str(PROTOCOL),
    ),
    'id': (strictjson.matches(_ID), '32 hexadecimal digits'),
}
_OBJECT: dict[str, strictjson.Rule] = {
    **_NAMED,
    'target': _TEXT,
    'repository': _MAP,
    'node': (_is_node, 'a changeset of 40 hexadecimal digits'),
    'previous': _NODE_OR_NULL,
    'pushes': (
        lambda v: isinstance(v, list) and all(isinstance(p, dict) for p in v),
        'a list of objects',
    ),
    'attempt': _COUNT,
}
_PUSH: dict[str, strictjson.Rule] = {
    'node': _NODE_OR_NULL,
    'node_last': _NODE_OR_NULL,
    'changesets': _COUNT,
    'heads': _LIST,
    'bookmarks': _MAP,
    'phases': _COUNT,
    'pusher': (strictjson.is_a(str, type(None)), 'a string or null'),
    'source': _TEXT,
    'url': _TEXT,
    'transaction': _TEXT,
    'time': _TEXT,
    'variables': _MAP,
}


class RefusedError(errors.DelegateError):
    '''what was asked is refused'''


@dataclasses.dataclass(frozen=True)
class Request:
    '''an exec request; ``node`` (40 hex digits) is given for DEPLOY alone'''

    verb: str
    target: str
    node: str | None = None


@dataclasses.dataclass(frozen=True)
class DeployRequest:
    '''what to deploy; ``data`` is the object as it came

    ``pusher`` is that of the newest push, and as a pusher may choose it.
    '''

    id: str
    target: str
    node: str
    previous: str | None
    pusher: str | None
    data: bytes


def parse_request(text: str) -> Request:
    '''read an exec request. Raises RefusedError'''
    words = text.split(' ') if len(text) <= 1000 else []
    if len(words) != 4 or words[0] != 'hg-delegate':
        raise RefusedError(
            'request refused: %s' % shown(text),
            'this account answers to: hg-delegate 1 TARGET NODE',
        )
    _name, protocol, target, what = words
    if protocol != str(PROTOCOL):
        raise RefusedError(
            'protocol %s is not known' % shown(protocol),
            'this is hg delegate-receive for protocol %d' % PROTOCOL,
        )
    if not _TARGET.match(target):
        raise RefusedError('%s is not the name of a target' % shown(target))
    if what in (CANCEL, STATUS):
        return Request(what, target)
    if not _is_node(what):
        raise RefusedError(
            '%s is not a changeset, cancel or status' % shown(what),
            'a changeset has 40 hexadecimal digits here',
        )
    return Request(DEPLOY, target, what)


def parse_id(data: bytes) -> str:
    '''the id in the object of a cancel or status. Raises RefusedError'''
    return _load(data, _NAMED)['id']


def parse_deploy(data: bytes, request: Request) -> DeployRequest:
    '''the object of a DEPLOY request. Raises RefusedError'''
    content = _load(data, _OBJECT)
    for name in ('target', 'node'):
        if content[name] != getattr(request, name):
            raise RefusedError(
                '%s is %s in the object and %s in the request'
                % (name, shown(content[name]), getattr(request, name))
            )
    pushes = content['pushes']
    return DeployRequest(
        id=content['id'],
        target=content['target'],
        node=content['node'],
        previous=content['previous'],
        pusher=pushes[-1]['pusher'] if pushes else None,
        data=data,
    )


def _load(data: bytes, rules: Mapping[str, strictjson.Rule]) -> dict[str, Any]:
    try:
        content = strictjson.load(data)
        strictjson.check(content, 'the object', rules)
        if rules is _OBJECT:
            for number, push in enumerate(content['pushes']):
                strictjson.check(push, 'pushes[%d]' % number, _PUSH)
    except ValueError as exc:
        raise RefusedError(str(exc)) from None
    return content


def variables(order: DeployRequest, path: str) -> dict[str, str]:
    '''what tells a script of ``order``; ``path`` is the file of its object

    A pusher chose DELEGATE_PUSHER, so it is one line of text and bounded:
    what could act on a terminal is ``?``. The object has it as it was.
    '''
    pusher = _UNPRINTABLE.sub('?', order.pusher or '')
    return {
        'HG_NODE': order.node,
        'HG_PREVIOUS': order.previous or '',
        'DELEGATE_TARGET': order.target,
        'DELEGATE_PUSHER': pusher[:1000],
        'DELEGATE_JSON': path,
    }


def shown(text: str) -> str:
    '''``text`` quoted, in printable ASCII and bounded'''
    return ascii(text[:80]) + ('...' if len(text) > 80 else '')
