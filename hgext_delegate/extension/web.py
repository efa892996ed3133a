# SPDX-License-Identifier: GPL-2.0-or-later
'''the web pages about delegations, in hgweb

The two commands are in ``web_commands``. A repository that publishes nothing
(``web = no``, the default) has hgweb's own pages as they are.
'''

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from mercurial import extensions, pycompat
from mercurial.hgweb import hgweb_mod, webcommands, webutil

from .. import errors
from ..state import files
from . import web_commands, web_dress, web_records


@functools.cache
def install() -> None:
    '''add the pages to this process; only once'''
    for name, function in (
        (b'delegations', web_commands.delegations),
        (b'delegationscss', web_commands.stylesheet),
    ):
        webcommands.webcommand(name)(function)
        setattr(webcommands, pycompat.sysstr(name), function)
    hgweb = hgweb_mod.hgweb
    extensions.wrapfunction(hgweb, 'run_wsgi', _run_wsgi)
    extensions.wrapfunction(hgweb, '_runwsgi', _run_command)
    extensions.wrapfunction(
        hgweb_mod.requestcontext, 'sendtemplate', _send_template
    )
    extensions.wrapfunction(webutil, 'commonentry', _common_entry)


def _run_wsgi(orig, self, req, res) -> Iterator[bytes]:
    '''let a live page go on when hgweb has its repository object back'''
    reply = orig(self, req, res)
    # with hgwebdir this holds the repository as well
    del self, req
    yield from reply
    del reply
    live = getattr(res, 'delegate_live', None)
    if live:
        yield from live.chunks()


def _run_command(orig, self, req, res, repo) -> Any:
    '''let what is cached know the journal, as its pages have badges

    hgweb takes the time of the repository's last change for a tag, and answers
    304 by it before it runs a command.
    '''
    unfiltered = repo.unfiltered()
    unfiltered._delegate_badges = None
    if web_commands.published(repo) == b'no':
        return orig(self, req, res, repo)
    unfiltered._delegate_badges = _Badges(repo)
    stamp = web_records.stamp(files.paths(repo)).encode('ascii')
    ending = b'-%s"' % stamp
    sent = req.headers.get(b'If-None-Match') or b''
    if sent:
        del req.headers[b'If-None-Match']
    if sent.endswith(ending) and not web_commands.is_ours(req):
        req.headers[b'If-None-Match'] = sent[: -len(ending)] + b'"'
    reply = orig(self, req, res, repo)
    if tag := res.headers.get(b'ETag'):
        res.headers[b'ETag'] = tag[:-1] + ending
    return reply


class _Badges:
    '''the targets that a changeset is deployed to, read for the first one'''

    def __init__(self, repo):
        self._paths = files.paths(repo)
        self._ui = repo.ui

    @functools.cached_property
    def _known(self) -> dict[str, list[tuple[str, bool]]]:
        found: dict[str, list[tuple[str, bool]]] = {}
        try:
            states = web_records.Records(self._paths, False).targets(self._ui)
        except (errors.DelegateError, OSError):
            return found
        for state in states:
            if state.current:
                about = (state.name, state.is_red)
                found.setdefault(state.current.node, []).append(about)
        return found

    def of(self, node: str) -> list[tuple[str, bool]]:
        return self._known.get(node, [])


def _send_template(orig, self, name: bytes, **values) -> Any:
    html = b'html' in (self.res.headers.get(b'Content-Type') or b'')
    if html and getattr(self.repo.unfiltered(), '_delegate_badges', None):
        web_dress.adapt(self.tmpl, name)
    return orig(self, name, **values)


def _common_entry(orig, repo, ctx) -> dict[bytes, Any]:
    entry = orig(repo, ctx)
    badges = getattr(repo.unfiltered(), '_delegate_badges', None)
    if badges:
        node = pycompat.sysstr(entry[b'node'])
        entry[b'deployments'] = web_dress.badges(badges.of(node))
    return entry
