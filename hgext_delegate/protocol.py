# SPDX-License-Identifier: GPL-2.0-or-later
'''protocol 1: exec requests, the object on standard input, and the answers

Both directions: the server composes what the receiver parses, and the other
way round. Parsing is strict, since either side may send anything. Pure. What
a pusher can name is data inside the object and nowhere else.
'''

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import errors, jsontext

PROTOCOL = 1
EXIT_LOST = 120  # of a receiver that was killed midway

# of a limited length, since it is part of file names
TARGET_NAME = re.compile('[A-Za-z0-9][A-Za-z0-9._-]{0,99}')
# Mercurial means no changeset by 40 zeroes, nor by 40 times f.
NODE = re.compile('(?!0{40}|f{40})[0-9a-f]{40}')
ID = re.compile('[0-9a-f]{32}')

DEPLOY, CANCEL, STATUS, STANDBY = 'deploy', 'cancel', 'status', 'standby'
GATE = 'gate'

# In bytes of JSON: what one object holds of the pushes that it is about, and
# what a receiver reads at most.
MAX_PUSHES = 1024 * 1024
MAX_BYTES = 2 * 1024 * 1024


class RequestError(errors.DelegateError):
    '''a request or its object is not one of protocol 1'''


# composing: what the server sends


def command(target, node: str) -> str:
    '''the exec request that deploys ``node`` to ``target``

    Four words that need no quoting, unless the target has its own.
    '''
    return target.command or _request(target.name, node)


def gate(target, node: str) -> str:
    '''the exec request that asks the gate ``target`` about ``node``'''
    return target.command or _request(target.name, f'{node} {GATE}')


def standby(target) -> str:
    '''the exec request for a receiver that waits for the object of a deploy

    Where its input ends without one there is nothing to do. '' where there is
    no receiver: a plain script runs for whatever is asked.
    '''
    known = target.receiver and not (target.command or target.gate)
    return _request(target.name, STANDBY) if known else ''


def compose_named(
    verb: str, target: str, id: str, **more: Any
) -> tuple[str, bytes]:
    '''the exec request and the object of a CANCEL or STATUS of ``id``'''
    told = _line({'protocol': PROTOCOL, 'id': id, **more})
    return _request(target, verb), told


def compose(
    target, repository: dict[str, str], row, pushes: list[dict[str, Any]]
) -> bytes:
    '''the object of protocol 1 for ``target``, one line of ASCII

    ``row`` has the journal's ``id``, ``node``, ``previous`` and ``attempt``.
    ``pushes`` are in push order; of many the newest that fit are sent.
    '''
    sizes = itertools.accumulate(
        len(jsontext.dump(push)) for push in reversed(pushes)
    )
    fit = itertools.takewhile(lambda size: size <= MAX_PUSHES, sizes)
    count = sum(1 for _size in fit)
    content = {
        'protocol': PROTOCOL,
        'id': row.id,
        'target': target.name,
        # no JSON reader but Python's takes what is not UTF-8
        'repository': {
            k: None if re.search('[\ud800-\udfff]', word) else word
            for k, word in repository.items()
        },
        'node': row.node,
        'previous': row.previous,
        'pushes': pushes[len(pushes) - count :],
        'attempt': row.attempt,
        'omitted': len(pushes) - count,
    }
    return _line(content)


def _request(target: str, what: str) -> str:
    return f'hg-delegate {PROTOCOL} {target} {what}'


def _line(content: dict[str, Any]) -> bytes:
    return jsontext.dump(content).encode('ascii') + b'\n'


# parsing: what a receiver is asked


@dataclasses.dataclass(frozen=True)
class Request:
    '''an exec request; ``node`` is given for DEPLOY and GATE'''

    verb: str
    target: str
    node: str | None = None


@dataclasses.dataclass(frozen=True)
class Deploy:
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
    '''read an exec request. Raises RequestError'''
    words = text.split(' ') if len(text) <= 1000 else []
    verb = GATE if words[4:] == [GATE] else DEPLOY
    if len(words) != 4 + (verb == GATE) or words[0] != 'hg-delegate':
        raise RequestError(
            'request refused: %s' % shown(text),
            'this account answers to: hg-delegate 1 TARGET NODE',
        )
    _name, protocol, target, what = words[:4]
    if protocol != str(PROTOCOL):
        raise RequestError(
            'protocol %s is not known' % shown(protocol),
            'this is hg delegate-receive for protocol %d' % PROTOCOL,
        )
    if not TARGET_NAME.fullmatch(target):
        raise RequestError('%s is not the name of a target' % shown(target))
    if verb == DEPLOY and what in (CANCEL, STATUS, STANDBY):
        return Request(what, target)
    if not NODE.fullmatch(what):
        raise RequestError(
            '%s is not a changeset, cancel, status or standby' % shown(what),
            'a changeset has 40 hexadecimal digits here',
        )
    return Request(verb, target, what)


def parse_named(data: bytes) -> dict[str, Any]:
    '''what is about an id: CANCEL, STATUS, its answer. Raises RequestError'''
    return _parse(data, _NAMED)


def parse_deploy(data: bytes, request: Request) -> Deploy:
    '''the object of a DEPLOY, STANDBY or GATE request. Raises RequestError'''
    content = _parse(data, _OBJECT)
    pushes = content['pushes']
    for number, push in enumerate(pushes):
        _check(push, 'pushes[%d]' % number, _PUSH)
    for name in ('target', 'node'):
        wanted = getattr(request, name)
        if wanted not in (None, content[name]):
            raise RequestError(
                '%s is %s in the object and %s in the request'
                % (name, shown(content[name]), wanted)
            )
    return Deploy(
        id=content['id'],
        target=content['target'],
        node=content['node'],
        previous=content['previous'],
        pusher=pushes[-1]['pusher'] if pushes else None,
        data=data,
    )


_A_NODE = 'a changeset of 40 hexadecimal digits'
# What a value is to be, in words, and whether it is that. Python takes true
# for 1; JSON does not.
_KINDS: dict[str, Callable[[Any], Any]] = {
    '1': lambda v: type(v) is int and v == PROTOCOL,
    '32 hexadecimal digits': lambda v: type(v) is str and ID.fullmatch(v),
    _A_NODE: lambda v: type(v) is str and NODE.fullmatch(v),
    'a string': lambda v: type(v) is str,
    'a number': lambda v: type(v) is int,
    'an object': lambda v: type(v) is dict,
    'a list of objects': lambda v: (
        type(v) is list and all(type(each) is dict for each in v)
    ),
}
_NAMED = {'protocol': '1', 'id': '32 hexadecimal digits'}
_OBJECT = {
    **_NAMED,
    'target': 'a string',
    'repository': 'an object',
    'node': _A_NODE,
    'previous': _A_NODE + ' or null',
    'pushes': 'a list of objects',
    'attempt': 'a number',
}
_PUSH = {
    **dict.fromkeys(('node', 'node_last'), _A_NODE + ' or null'),
    **dict.fromkeys(('changesets', 'phases'), 'a number'),
    **dict.fromkeys(('bookmarks', 'variables'), 'an object'),
    **dict.fromkeys(('source', 'url', 'transaction', 'time'), 'a string'),
    'heads': 'a list of objects',
    'pusher': 'a string or null',
}


def _parse(data: bytes, kinds: Mapping[str, str]) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise RequestError('the object has more than %d bytes' % MAX_BYTES)
    try:
        content = json.loads(
            data.decode('utf-8'),
            object_pairs_hook=_once,
            parse_int=_number,
            parse_constant=_number,
        )
    except UnicodeDecodeError:
        raise RequestError('the object is not UTF-8') from None
    except RecursionError:
        raise RequestError('the object is nested too deeply') from None
    except ValueError as exc:
        # json's own text has nothing of the input
        raise RequestError('the object is not JSON: %s' % exc) from None
    if type(content) is not dict:
        raise RequestError('standard input is not a JSON object')
    _check(content, 'the object', kinds)
    return content


def _check(content: dict, where: str, kinds: Mapping[str, str]) -> None:
    # What is not named may be there: a newer server says more.
    for name, kind in kinds.items():
        if name not in content:
            raise RequestError('%s has no %s' % (where, name))
        plain, null, _end = kind.partition(' or null')
        is_null = null and content[name] is None
        if not is_null and not _KINDS[plain](content[name]):
            raise RequestError('%s of %s is not %s' % (name, where, kind))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        # two readers would mean two different values
        raise RequestError('the object has a key twice')
    return content


def _number(text: str) -> int:
    # Python <= 3.10 takes minutes for one of a million digits. NaN is none.
    if len(text) > 20:
        raise RequestError('the object has a number of %d digits' % len(text))
    return int(text)


def shown(text: str) -> str:
    '''``text`` quoted, in printable ASCII and bounded'''
    return ascii(text[:80]) + ('...' if len(text) > 80 else '')


# what a receiver answers

_STATUS = _NAMED | {'state': 'a string', 'signal': 'a string or null'}
_STATUS |= dict.fromkeys(('status', 'milliseconds'), 'a number or null')


def compose_status(id: str, row, **more: str) -> bytes:
    '''the answer to CANCEL or STATUS; ``row`` is the journal's or None'''
    names = ('target', 'state', 'status', 'signal', 'reason', 'number', 'node')
    told = {name: getattr(row, name, None) or None for name in names}
    told['status'] = getattr(row, 'status', None)
    told['state'] = told['state'] or 'unknown'
    for name in ('began', 'ended'):
        at = getattr(row, name, None)
        told[name] = at and time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))
    if told['ended'] and told['began']:
        told['milliseconds'] = max(0, round(1000 * (row.ended - row.began)))
    told |= {'protocol': PROTOCOL, 'id': id, **more}
    return _line({'milliseconds': None, **told})


def parse_status(data: bytes, id: str) -> dict[str, Any] | None:
    '''that answer; None where it is none for ``id``'''
    try:
        told = _parse(data, _STATUS)
    except RequestError:
        return None
    return told if told['id'] == id else None
