# SPDX-License-Identifier: GPL-2.0-or-later
'''delegations for programs: JSON, an Atom feed, and text'''

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Sequence
from typing import Any

from ..report import wording
from ..state import delegation
from . import web_live, web_records, web_text

# keyword -> field of Delegation, as the templates of hg delegate-log have them
_KEYWORDS = {
    'id': 'number',
    'target': 'target',
    'state': 'state',
    'node': 'node',
    'previous': 'previous',
    'pusher': 'pusher',
    'attempt': 'attempt',
    'seconds': 'seconds',
    'status': 'status',
    'signal': 'signal',
    'reason': 'reason',
    'taken': 'merged_into',
    'stopper': 'cancelled_by',
}


def plain(row: delegation.Delegation | None) -> dict[str, Any] | None:
    if row is None:
        return None
    found = {key: getattr(row, field) for key, field in _KEYWORDS.items()}
    # as Mercurial's own JSON: seconds since 1970, and the zone
    return {**found, 'date': [int(row.began or row.created), 0]}


def as_json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode('ascii') + b'\n'


def one_json(records: web_records.Records, row: delegation.Delegation) -> bytes:
    found = plain(row) or {}
    if records.with_output:
        lines = web_live.Live(records, row, Reply(row, False), False).chunks()
        *output, _verdict = lines
        found['output'] = b''.join(output).decode('utf-8')
    return as_json(found)


@dataclasses.dataclass(frozen=True)
class Reply:
    '''the output of ``row`` as text, and the last line of a push

    ``row`` may be sent while it ``runs``.
    '''

    row: delegation.Delegation
    runs: bool
    # there is nothing in text that nobody sees
    heartbeat: bytes = b''

    def begin(self, lasts: bool) -> bytes:
        return b''

    def line(self, data: bytes) -> bytes:
        return web_text.text_line(data)

    def end(self, row: delegation.Delegation | None) -> bytes:
        # None: nobody works on it any more
        runs = self.runs and row is not None
        text = web_text.verdict(row or self.row, runs)
        return f'delegate: {text}\n'.encode()


def index_json(
    states: Sequence[web_records.TargetState],
    rows: Sequence[delegation.Delegation],
) -> bytes:
    targets = [
        {
            'target': state.name,
            'node': state.node,
            'failed': state.is_red,
            'usual': state.usual,
            'held': state.hold and dataclasses.asdict(state.hold),
            'newest': plain(state.newest),
        }
        for state in states
    ]
    shown = [plain(row) for row in rows[: web_records.LIMIT]]
    return as_json({'targets': targets, 'delegations': shown})


def index_text(rows: Sequence[delegation.Delegation]) -> bytes:
    lines = []
    for row in rows[: web_records.LIMIT]:
        when = web_text.moment(row.began or row.created)
        fields = [str(row.number), row.target, row.state, row.node[:12], when]
        if row.reason:
            fields.append(wording.text(row.reason).decode())
        lines.append('  '.join(fields) + '\n')
    return ''.join(lines).encode()


def atom(rows: Sequence[delegation.Delegation], base: str, name: str) -> bytes:
    '''a feed; ``base`` is the repository's URL, and ends with a slash'''
    escaped = web_text.escaped
    base = html.escape(base)
    entries = []
    for row in rows[: web_records.LIMIT]:
        if not row.number:
            continue
        url = f'{base}delegations/{row.number}'
        title = escaped(web_text.verdict(row, True))
        who = ''
        if row.pusher:
            who = f'<author><name>{escaped(row.pusher)}</name></author>'
        entries.append(
            f'<entry><id>{url}</id><title>{title}</title>'
            f'<link href="{url}"/>{who}<updated>{_moment(row)}</updated>'
            f'<summary>{row.node[:12]}</summary></entry>\n'
        )
    newest = max(map(_moment, rows), default='1970-01-01T00:00:00Z')
    text = (
        '<?xml version="1.0" encoding="us-ascii"?>\n'
        '<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f'<id>{base}delegations</id>\n'
        f'<link rel="self" href="{base}atom-delegations"/>\n'
        f'<link rel="alternate" href="{base}delegations"/>\n'
        f'<title>{escaped(name)}: delegations</title>\n'
        '<author><name>hg-delegate</name></author>\n'
        f'<updated>{newest}</updated>\n{"".join(entries)}</feed>\n'
    )
    return text.encode('ascii')


def _moment(row: delegation.Delegation) -> str:
    return web_text.moment(row.ended or row.began or row.created)
