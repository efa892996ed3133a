# SPDX-License-Identifier: GPL-2.0-or-later
'''the web pages about delegations, in hgweb

The two commands are in ``web_commands``. The pages of a repository that
publishes nothing (``web = no``, the default) get the badges alone.
'''

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from mercurial import extensions, pycompat
from mercurial.hgweb import hgweb_mod, webcommands, webutil
from mercurial.node import bin

from .. import errors
from ..state import files
from . import hooks, names, web_commands, web_dress, web_records


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
    '''let what is cached know the names, and the journal: pages have badges

    hgweb takes the time of the repository's last change for a tag, and answers
    304 by it before it runs a command.
    '''
    unfiltered = repo.unfiltered()
    unfiltered._delegate_badges = None
    if not hooks.is_enabled(repo):
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
    '''what pages of hgweb's own say of delegations, read when it is needed

    The names are for whoever reads the repository, as tags are. That the last
    run failed is said, and linked, where something is published.
    '''

    def __init__(self, repo):
        self._repo = repo
        self.are_linked = web_commands.published(repo) != b'no'

    @functools.cached_property
    def names(self) -> dict[bytes, bytes]:
        '''target -> node'''
        return names.nodes(self._repo)

    @functools.cached_property
    def _red(self) -> set[str]:
        if not self.are_linked:
            return set()
        records = web_records.Records(files.paths(self._repo), False)
        try:
            return records.red(map(pycompat.sysstr, self.names))
        except (errors.DelegateError, OSError):
            return set()

    def of(self, node: bytes) -> list[tuple[str, bool]]:
        '''the targets that have ``node``, and whether they are red'''
        found = sorted(n for n, each in self.names.items() if each == node)
        return [(n, n in self._red) for n in map(pycompat.sysstr, found)]


def _send_template(orig, self, name: bytes, **values) -> Any:
    html = b'html' in (self.res.headers.get(b'Content-Type') or b'')
    badges = getattr(self.repo.unfiltered(), '_delegate_badges', None)
    if html and badges and (badges.are_linked or badges.names):
        web_dress.adapt(self.tmpl, name, badges.are_linked)
    return orig(self, name, **values)


def _common_entry(orig, repo, ctx) -> dict[bytes, Any]:
    entry = orig(repo, ctx)
    badges = getattr(repo.unfiltered(), '_delegate_badges', None)
    if badges:
        found = badges.of(bin(entry[b'node']))
        entry[b'deployments'] = web_dress.badges(found)
    return entry
