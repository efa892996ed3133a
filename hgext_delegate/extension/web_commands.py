# SPDX-License-Identifier: GPL-2.0-or-later
'''what hgweb answers for /delegations and /delegations/ID

hgweb has asked ``allow_read`` and ``deny_read`` before. Nothing here changes
anything, and no word of the request comes into the reply's head.
'''

from __future__ import annotations

import functools
import os
import re
from typing import Any

from mercurial import encoding, pycompat, templatefilters
from mercurial.hgweb import common
from mercurial.node import bin

from .. import errors
from ..config import policy
from ..push import push
from ..state import delegation, files
from . import (
    hooks,
    http_reply,
    web_dress,
    web_feeds,
    web_live,
    web_page,
    web_records,
)

_CSS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    'templates',
    'delegations.css',
)
_NUMBER = re.compile(rb'[0-9]{1,18}\Z')  # sqlite takes no longer ones
_TARGET = re.compile(rb'[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z')


def published(repo) -> bytes:
    '''what the pages of ``repo`` show, one of parsers.PUBLISHED'''
    return policy.published(repo) if hooks.is_enabled(repo) else b'no'


def is_ours(req) -> bool:
    '''whether hgweb will answer ``req`` by delegations(), in any style'''
    word = (req.dispatchpath or b'').partition(b'/')[0].rpartition(b'-')[2]
    return b'delegations' in (word, req.qsparams.get(b'cmd'))


def stylesheet(web) -> Any:
    '''
    /delegationscss
    ---------------

    The style sheet of the pages about delegations.
    '''
    with open(_CSS, 'rb') as file:
        text = file.read()
    return _send(web, text, b'text/css')


def delegations(web) -> Any:
    '''
    /delegations[/{number}]
    -----------------------

    What was delegated to which target, and what became of it; with a number,
    also what that delegation printed. ``target`` in the query string limits the
    list to one target, and ``before`` to those with a lower number.
    '''
    if b'ETag' in web.res.headers:
        del web.res.headers[b'ETag']
    # no-transform: a proxy that compresses it holds back what is live
    web.res.headers[b'Cache-Control'] = b'private, no-cache, no-transform'
    shown = published(web.repo)
    if shown == b'no':
        raise common.ErrorResponse(
            common.HTTP_NOT_FOUND, b'delegations are not shown here'
        )
    records = web_records.Records(files.paths(web.repo), shown == b'output')
    number = web.req.qsparams.get(b'node')
    if web.req.qsparams.get(b'file'):
        raise _not_found()
    try:
        if number is None:
            return _index(web, records)
        row = records.get(int(number)) if _NUMBER.match(number) else None
        if row is None:
            raise _not_found()
        return _one(web, records, row)
    except (errors.DelegateError, OSError):
        # no name of a file, and no host
        raise common.ErrorResponse(
            common.HTTP_SERVER_ERROR,
            b"delegations cannot be read; see 'hg delegate-check' on"
            b' the server',
        ) from None


def _not_found() -> common.ErrorResponse:
    # it becomes the status line
    return common.ErrorResponse(
        common.HTTP_NOT_FOUND, b'there is no such delegation'
    )


def _kind(web) -> str:
    '''html, json, atom or text, as the style of the request says'''
    found = web.res.headers.get(b'Content-Type') or b''
    for kind in ('html', 'json', 'atom', 'text/plain'):
        if kind.encode('ascii') in found:
            return kind
    raise common.ErrorResponse(
        common.HTTP_NOT_FOUND, b'delegations have no page of this style'
    )


def _index(web, records: web_records.Records) -> Any:
    kind = _kind(web)
    target = _parameter(web, b'target', _TARGET)
    before = _parameter(web, b'before', _NUMBER)
    rows = records.newest(target, int(before) if before else None)
    if kind == 'atom':
        return _send(web, web_feeds.atom(rows, *_origin(web)))
    if kind == 'text/plain':
        return _send_text(web, web_feeds.index_text(rows))
    states = [] if before else records.targets(web.repo.ui, target)
    if kind == 'json':
        return _send(web, web_feeds.index_json(states, rows))
    site = _site(web)
    content = web_page.index(site, states, rows, target, records.with_output)
    title = f'delegations to {target}' if target else 'delegations'
    page = web_dress.page(web.tmpl, title)
    again = web_page.come_again(rows, b'watch' in web.req.qsparams)
    return _send(web, page.beginning(again, content) + page.ending())


def _parameter(web, name: bytes, form: re.Pattern[bytes]) -> str | None:
    value = web.req.qsparams.get(name)
    if value is None:
        return None
    if not form.match(value):
        raise _not_found()
    return value.decode('ascii')


def _one(web, records: web_records.Records, row: delegation.Delegation) -> Any:
    kind = _kind(web)
    if kind == 'atom':
        raise _not_found()
    if kind == 'json':
        return _send(web, web_feeds.one_json(records, row))
    runs = not records.is_orphan(row) and row.state == delegation.RUNNING
    may_last = runs and bool(web.req.rawenv.get(b'wsgi.multithread'))
    reply: web_live.Reply
    if kind == 'html':
        title = f'delegation {row.number} to {row.target}'
        page = web_dress.page(web.tmpl, title)
        output = records.with_output
        facts = web_page.facts(_site(web), row, output)
        reply = web_page.Reply(
            page, row, facts, output, runs, records.usual(row.target)
        )
    else:
        reply = web_feeds.Reply(row, runs)
    if may_last:
        http_reply.limit_patience(web.req.rawenv)
    live = web_live.Live(records, row, reply, may_last)
    if kind != 'html':
        _as_text(web)
    # nginx would buffer it
    web.res.headers[b'X-Accel-Buffering'] = b'no'
    web.res.setbodygen(iter(()))
    if web.req.method != b'HEAD':
        # it goes out when hgweb has its repository object back: see web.py
        web.res.delegate_live = live
    return web.res.sendresponse()


def _site(web) -> web_page.Site:
    repo = web.repo
    root = templatefilters.urlescape(web.req.apppath + b'/')
    style = web.req.qsparams.get(b'style')
    if style != web.tmpl.defaults[b'style']:
        style = None

    @functools.cache
    def describe(node: str) -> str | None:
        if not repo.changelog.hasnode(bin(node)):
            return None  # gone, or not served
        text = encoding.fromlocal(repo[bin(node)].description())
        first = text.strip().partition(b'\n')[0]
        return first.decode('utf-8', 'replace')

    return web_page.Site(
        pycompat.sysstr(root), style and pycompat.sysstr(style), describe
    )


def _origin(web) -> tuple[str, str]:
    '''the URL of the repository with a slash, and its name'''
    path = templatefilters.urlescape(web.req.apppath + b'/')
    base = web.req.advertisedbaseurl + path
    return pycompat.sysstr(base), push.text(web.tmpl.defaults[b'repo'])


def _as_text(web) -> None:
    web.res.headers[b'Content-Type'] = b'text/plain; charset=utf-8'
    web.res.headers[b'X-Content-Type-Options'] = b'nosniff'


def _send_text(web, text: bytes) -> Any:
    _as_text(web)
    return _send(web, text)


def _send(web, body: bytes, content_type: bytes | None = None) -> Any:
    if content_type:
        web.res.headers[b'Content-Type'] = content_type
    if web.req.method == b'HEAD':
        web.res.setbodygen(iter(()))
    else:
        web.res.setbodybytes(body)
    return web.res.sendresponse()
