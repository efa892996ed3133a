# SPDX-License-Identifier: GPL-2.0-or-later
'''the HTML of the pages about delegations, without the dress of a style

All of it is ASCII: other characters are references, so that it is right in
each ``web.encoding``. It is well-formed XML as well, for a style that says so.
There is no script, and no style but by classes (``templates/delegations.css``).
'''

from __future__ import annotations

import dataclasses
import time
import urllib.parse
from collections.abc import Callable, Iterable, Sequence

from ..report import wording
from ..state import delegation, holds
from . import web_dress, web_records, web_text

_OUTPUT_BEGINS = (
    '<section aria-labelledby="out"><h3 id="out">Output</h3>'
    '<div class="output %s"><pre role="log" aria-live="polite" tabindex="0"'
    ' aria-labelledby="out">'
)
_OUTPUT_ENDS = '</pre></div></section>'
# where a page asks the browser to come again, in seconds: while something
# runs, and else
_SOON, _LATER = 5, 30


@dataclasses.dataclass(frozen=True)
class Site:
    '''where the pages of a repository are

    ``root`` ends with a slash and is escaped; ``style`` is that of this
    request alone. ``describe`` returns the first line of a changeset's message,
    or None if the changeset is not served.
    '''

    root: str
    style: str | None
    describe: Callable[[str], str | None]

    def url(self, path: str = 'delegations', **query: object) -> str:
        '''for an attribute'''
        words = {**query, **({'style': self.style} if self.style else {})}
        found = self.root + urllib.parse.quote(path)
        return web_text.escaped(
            f'{found}?{urllib.parse.urlencode(words)}'.rstrip('?')
        )


def index(
    site: Site,
    states: Sequence[web_records.TargetState],
    rows: Sequence[delegation.Delegation],
    target: str | None,
    with_output: bool,
) -> str:
    '''the targets, and the newest delegations, of ``target`` or all of them'''
    shown = rows[: web_records.LIMIT]
    parts = []
    if states:
        tiles = ''.join(_tile(site, state) for state in states)
        parts.append(
            '<section aria-labelledby="targets"><h3 id="targets">Targets</h3>'
            f'<ul class="targets">{tiles}</ul></section>'
        )
    title = (
        f'Delegations to {web_text.escaped(target)}'
        if target
        else 'Delegations'
    )
    parts.append(f'<section aria-labelledby="list"><h3 id="list">{title}</h3>')
    if shown:
        parts.append(_table(site, shown, with_output))
    else:
        parts.append('<p>Nothing was delegated here yet.</p>')
    more = []
    query = {'target': target} if target else {}
    if len(rows) > web_records.LIMIT and shown[-1].number:
        older = site.url(before=shown[-1].number, **query)
        more.append(f'<a rel="next" href="{older}">older</a>')
    more.append(f'<a href="{site.url()}">newest of all targets</a>')
    more.append(
        f'<a href="{site.url(**query, watch=1)}">watch: load this again</a>'
    )
    parts.append(f'<p class="more">{" ".join(more)}</p></section>')
    return ''.join(parts)


def _tile(site: Site, state: web_records.TargetState) -> str:
    row = state.newest
    word = row.state if row else 'nothing yet'
    is_red = state.is_red and word != delegation.RUNNING
    kind = delegation.FAILED if is_red else row.state if row else 'none'
    has = _changeset(site, state.node) if state.node else 'nothing yet'
    has = '' if state.is_gate else f'<span class="has">has {has}</span>'
    last = f' <a href="{_page(site, row)}">{word}</a>' if row else f' {word}'
    if state.is_red and row and row.state not in web_records.RED:
        last += ', the last run failed'
    if row and row.state == delegation.RUNNING:
        last += _usually(state.usual)
    held = _held(state.hold) if state.hold else ''
    name = web_text.escaped(state.name)
    link = site.url(target=state.name)
    return (
        f'<li class="state-{kind}"><a class="target" href="{link}">{name}</a>'
        f'<strong>{last}</strong>{has}{held}</li>'
    )


def _usually(seconds: float | None) -> str:
    if seconds is None:
        return ''
    return f', usually {wording.duration(seconds).decode("ascii")}'


def _held(hold: holds.Hold) -> str:
    text = 'held'
    if hold.who:
        text += f' by {hold.who}'
    if hold.since is not None:
        text += f' since {wording.moment(hold.since).decode("ascii")}'
    if hold.reason:
        text += f': {hold.reason}'
    return f'<b class="held">{web_text.escaped(text)}</b>'


def _page(site: Site, row: delegation.Delegation) -> str:
    if not row.number:
        return site.url(target=row.target)
    return site.url(f'delegations/{row.number}')


_NOTHING = ' class="none"'
_HEADINGS = ('#', 'target', 'state', 'changeset', 'pusher', 'when', 'took')


def _table(
    site: Site, rows: Iterable[delegation.Delegation], with_output: bool
) -> str:
    names = [n for n in _HEADINGS if with_output or n != 'pusher']
    names.append('why')
    heads = ''.join(
        f'<th scope="col" role="columnheader">{n}</th>' for n in names
    )
    lines = []
    for row in rows:
        cells = _cells(site, row)
        line = ''.join(
            f'<td role="cell" data-label="{name}"'
            f'{"" if cells[name] else _NOTHING}>{cells[name] or "-"}</td>'
            for name in names
        )
        lines.append(f'<tr role="row">{line}</tr>\n')
    return (
        '<table role="table" class="delegations-list" aria-labelledby="list">'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(lines)}</tbody></table>'
    )


def _cells(site: Site, row: delegation.Delegation) -> dict[str, str]:
    number = ''
    if row.number:
        number = f'<a href="{_page(site, row)}">{row.number}</a>'
    name = web_text.escaped(row.target)
    return {
        '#': number,
        'target': f'<a href="{site.url(target=row.target)}">{name}</a>',
        'state': f'<strong class="state-{row.state}">{row.state}</strong>',
        'changeset': _changeset(site, row.node),
        'pusher': web_text.escaped((row.pusher or '')[:40]),
        'when': _moment(row.began or row.created),
        'took': '' if row.seconds is None else f'{row.seconds:.1f} s',
        'why': _why(site, row),
    }


def _why(site: Site, row: delegation.Delegation) -> str:
    said = [web_text.escaped(row.reason)] if row.reason else []
    if row.merged_into:
        by = 'by' if row.state == delegation.SUPERSEDED else 'with'
        link = site.url(f'delegations/{row.merged_into}')
        said.append(f'{by} <a href="{link}">{row.merged_into}</a>')
    return ', '.join(said)


def _changeset(site: Site, node: str) -> str:
    summary = site.describe(node)
    short = f'<code>{node[:12]}</code>'
    if summary is None:
        return short
    link = site.url(f'rev/{node[:12]}')
    return f'<a href="{link}">{short}</a> {web_text.escaped(summary[:80])}'


def _moment(seconds: float) -> str:
    iso = web_text.moment(seconds)
    # as Mercurial's own pages, whose script makes "5 minutes ago" of it
    text = time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime(seconds))
    return f'<time class="age" datetime="{iso}">{text}</time>'


def facts(site: Site, row: delegation.Delegation, with_output: bool) -> str:
    cells = _cells(site, row)
    del cells['#']
    if not with_output:
        del cells['pusher']
    if row.previous:
        cells['before'] = _changeset(site, row.previous)
    items = ''.join(
        f'<div><dt>{name}</dt><dd>{cell}</dd></div>'
        for name, cell in cells.items()
        if cell
    )
    return f'<dl class="facts">{items}</dl>'


def come_again(rows: Iterable[delegation.Delegation], anyway: bool) -> str:
    '''for the head of a list: load it again if ``anyway``, or if something is
    still to happen'''
    states = {row.state for row in rows}
    if delegation.RUNNING in states:
        return _refresh(_SOON)
    return _refresh(_LATER) if anyway or delegation.PENDING in states else ''


def _refresh(seconds: int) -> str:
    return f'<meta http-equiv="refresh" content="{seconds}" />'


@dataclasses.dataclass(frozen=True)
class Reply:
    '''the page of ``row``; if it ``runs``, the verdict is its end'''

    page: web_dress.Page
    row: delegation.Delegation
    facts: str
    with_output: bool
    runs: bool
    usual: float | None
    heartbeat: bytes = b'<!-- -->'

    def begin(self, lasts: bool) -> bytes:
        row = self.row
        waits = row.state == delegation.PENDING
        again = waits or (self.runs and not lasts)
        note = ''
        if again:
            word = 'waits' if waits else 'runs'
            note = f'It {word}. This page loads itself every {_SOON} seconds.'
        elif self.runs:
            note = 'It runs. What it prints appears here, and then its end.'
        if self.runs:
            note = note.replace('runs', f'runs{_usually(self.usual)}', 1)
        if note:
            note = f'<p class="note">{note}</p>'
        title = f'Delegation {row.number} to {web_text.escaped(row.target)}'
        text = (
            f'<section aria-labelledby="one"><h3 id="one">{title}</h3>'
            f'{"" if self.runs else verdict(row)}{self.facts}'
            f'{note}</section>'
        )
        if self.with_output:
            text += _OUTPUT_BEGINS % ('live' if lasts else 'ended')
        return self.page.beginning(_refresh(_SOON) if again else '', text)

    def line(self, data: bytes) -> bytes:
        return web_text.line(data).encode('ascii')

    def end(self, row: delegation.Delegation | None) -> bytes:
        text = _OUTPUT_ENDS if self.with_output else ''
        if self.runs and (row is None or row.state != delegation.RUNNING):
            text += verdict(row or self.row)
        return text.encode('ascii') + self.page.ending()


def verdict(row: delegation.Delegation) -> str:
    '''the last line about ``row``'''
    return (
        f'<p class="verdict state-{row.state}" role="status">'
        f'<strong>{web_text.escaped(web_text.verdict(row))}</strong></p>'
    )
