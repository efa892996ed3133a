"""What the server account sends, in the words of protocol 1."""

from __future__ import annotations

import json
import secrets
from typing import Any

PUSH: dict[str, Any] = {
    'node': '1' * 40,
    'node_last': '2' * 40,
    'changesets': 2,
    'heads': [],
    'bookmarks': {},
    'phases': 0,
    'pusher': 'alice',
    'source': 'serve',
    'url': 'remote:ssh:127.0.0.1',
    'transaction': 'x',
    'time': '2026-01-02T03:04:05.678Z',
    'variables': {},
    'omitted': {},
}


def content(node: str, **fields: Any) -> dict[str, Any]:
    """The object of a deploy of NODE to blog, with other FIELDS."""
    return {
        'protocol': 1,
        'id': secrets.token_hex(16),
        'target': 'blog',
        'repository': {'name': 'r', 'root': '/nowhere/r'},
        'node': node,
        'previous': None,
        'pushes': [PUSH],
        'attempt': 1,
        'omitted': 0,
        **fields,
    }


def deploy(node: str, **fields: Any) -> tuple[str, bytes]:
    """The exec request and the input of a deploy."""
    told = content(node, **fields)
    request = f'hg-delegate 1 {told["target"]} {told["node"]}'
    return request, json.dumps(told).encode() + b'\n'


def named(
    verb: str, id: str, target: str = 'blog', **fields: Any
) -> tuple[str, bytes]:
    """The exec request and the input of a cancel or status."""
    told = {'protocol': 1, 'id': id, **fields}
    return f'hg-delegate 1 {target} {verb}', json.dumps(told).encode() + b'\n'
