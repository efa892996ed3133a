# SPDX-License-Identifier: GPL-2.0-or-later
'''how a pusher over HTTP hears a delegation: in the reply, while it is sent

hgweb collects what hooks print and sends it at the end. But the reply to a
push is a bundle that is made while it is sent, and may have any number of
``output`` parts. So the hook only starts the delegation. What is said later
goes into the reply, a part for a few lines; stock clients show each at once.
'''

from __future__ import annotations

import contextlib
import functools
import io
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mercurial import bundle2, exchange, extensions, hg, wireprotoserver

from .. import errors
from ..report import follower as followermod, printer, wording

if TYPE_CHECKING:
    # only a push needs it
    from ..delivery import dispatcher as dispatchermod

# A proxy ends a reply that is silent for too long (nginx after a minute), and
# only a failed write tells that the client is gone.
HEARTBEAT = 10.0


@functools.cache
def install() -> None:
    '''send the replies of this process while they are made; only once'''
    # hgweb keeps a repository object until one of these files has changed
    hg.foi.append(('path', b'hgrc'))
    extensions.wrapfunction(exchange, 'unbundle', _unbundle)
    extensions.wrapfunction(wireprotoserver, 'handlewsgirequest', _handle)


def _handle(orig, rctx, req, res, checkperm) -> Any:
    if req.qsparams.get(b'cmd') == b'unbundle':
        # nginx would buffer the reply, and other proxies would compress it
        res.headers[b'X-Accel-Buffering'] = b'no'
        res.headers[b'Cache-Control'] = b'no-transform'
    return orig(rctx, req, res, checkperm)


def _unbundle(orig, repo, cg, heads, source, url) -> Any:
    over_http = url.startswith((b'remote:http:', b'remote:https:'))
    if not over_http or not isinstance(cg, bundle2.unbundle20):
        return orig(repo, cg, heads, source, url)
    repo = repo.unfiltered()
    # The hook adds the delegations that it starts.
    broadcasts: list[Broadcast] = []
    repo._delegate_broadcasts = broadcasts
    try:
        reply = orig(repo, cg, heads, source, url)
    finally:
        del repo._delegate_broadcasts
    # Some clients want no reply.
    if hasattr(reply, 'addpart'):
        for broadcast in broadcasts:
            reply.addpart(_LivePart(broadcast))
    return reply


class Broadcast:
    '''what is said of some delegations, as text, while the reply is sent

    A Printer writes to its ``ui``. ``begun`` is true once the reply is sent,
    and ``told`` is set at its end. A client that goes away ends it early: then
    the workers go on alone.
    '''

    def __init__(self, ui, dispatcher: dispatchermod.Dispatcher):
        self.ui = ui.copy()
        # what a Printer flushes is not the output of the server
        self.ui.fout = self.ui.ferr = io.BytesIO()
        self.ui.pushbuffer(error=True)
        self.followers: list[followermod.Follower] = []
        self.news = threading.Event()
        self.begun = False
        self.told = threading.Event()
        self._dispatcher = dispatcher

    def texts(self) -> Iterator[bytes]:
        '''whole lines, as they come; empty ones as a heartbeat'''
        self.begun = True
        spoke = time.monotonic()
        try:
            with self._warning():
                for _left in followermod.rounds(self.followers, self.news):
                    text = self._taken()
                    if text or time.monotonic() - spoke > HEARTBEAT:
                        yield text
                        spoke = time.monotonic()
            with self._warning():
                self._dispatcher.report_journal()
                self._dispatcher.prune()
            yield self._taken()
        finally:
            self.told.set()

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        '''say what is wrong with the journal: the reply must be complete'''
        try:
            yield
        except (errors.DelegateError, OSError) as exc:
            printer.Printer(self.ui).warn(*wording.of_error(exc))

    def _taken(self) -> bytes:
        text = self.ui.popbuffer()
        self.ui.pushbuffer(error=True)
        return text


class _LivePart:
    '''in a bundle, the ``output`` parts that are still to come'''

    type = b'output'

    def __init__(self, broadcast: Broadcast):
        self.id: int | None = None
        self._broadcast = broadcast

    def getchunks(self, ui) -> Iterator[bytes]:
        assert self.id is not None
        for count, text in enumerate(self._broadcast.texts()):
            part = bundle2.bundlepart(b'output', data=text, mandatory=False)
            part.id = self.id + count
            # one chunk is one write, so no part is ever sent half
            yield b''.join(part.getchunks(ui))
