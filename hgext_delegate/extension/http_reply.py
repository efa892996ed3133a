# http_reply.py - how a pusher over HTTP hears a delegation
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''how a pusher over HTTP hears a delegation: in the reply, while it is sent

hgweb collects what hooks print and sends it at the end. But the reply to a
push is a bundle that is made while it is sent, and may have any number of
``output`` parts: so the hook only begins, and what comes after it is said in
the reply, a small part for each few lines. Stock clients show each at once.
'''

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import bundle2, exchange, extensions, wireprotoserver

from .. import errors
from ..report import follower as followermod, printer, wording

# Proxies give up on a reply that is silent for too long (nginx after a
# minute), and only sending something tells that the client is gone.
HEARTBEAT = 10.0

_installing = threading.Lock()
_installed = False


def install() -> None:
    '''let the replies of this process be live; once is enough'''
    global _installed
    with _installing:
        if not _installed:
            _installed = True
            extensions.wrapfunction(exchange, 'unbundle', _unbundle)
            extensions.wrapfunction(
                wireprotoserver, 'handlewsgirequest', _handle
            )


def _handle(orig, rctx, req, res, checkperm) -> Any:
    if req.qsparams.get(b'cmd') == b'unbundle':
        # nginx would collect the reply, and others would compress it
        res.headers[b'X-Accel-Buffering'] = b'no'
        res.headers[b'Cache-Control'] = b'no-transform'
    return orig(rctx, req, res, checkperm)


def _unbundle(orig, repo, cg, heads, source, url) -> Any:
    over_http = url.startswith((b'remote:http:', b'remote:https:'))
    if not over_http or not isinstance(cg, bundle2.unbundle20):
        return orig(repo, cg, heads, source, url)
    repo = repo.unfiltered()
    # Whoever begins a delegation now leaves here how to follow it.
    broadcasts: list[Broadcast] = []
    repo._delegate_broadcasts = broadcasts
    try:
        reply = orig(repo, cg, heads, source, url)
    finally:
        del repo._delegate_broadcasts
    # A client may want no reply; its delegations run all the same.
    if hasattr(reply, 'addpart'):
        for broadcast in broadcasts:
            reply.addpart(_LivePart(broadcast))
    return reply


class Broadcast:
    '''what is said of some delegations, as text, when it is asked for

    It takes the place of ``ui`` for a Printer. When all of them have ended and
    been told, ``finish`` is called, which may still speak. If nobody listens
    to the end, that is left out: the workers go on alone. ``begun`` is set
    when somebody begins to listen, and ``told`` when nobody does any more.
    '''

    def __init__(self, ui):
        self.quiet = ui.quiet
        self.verbose = ui.verbose
        self.followers: list[followermod.Follower] = []
        self.news = threading.Event()
        self.begun = False
        self.told = threading.Event()
        self.finish: Callable[[], None] = lambda: None
        self._said: list[bytes] = []

    # The options of ui, such as label, are for a terminal.

    def status(self, *messages: bytes, **options: Any) -> None:
        if not self.quiet:
            self._said.extend(messages)

    def note(self, *messages: bytes, **options: Any) -> None:
        if self.verbose:
            self._said.extend(messages)

    def warn(self, *messages: bytes, **options: Any) -> None:
        self._said.extend(messages)

    def flush(self) -> None:
        '''for a Printer; what was said is sent as soon as it is asked for'''

    def texts(self) -> Iterator[bytes]:
        '''whole lines, as they come; nothing, now and then'''
        self.begun = True
        spoke = time.monotonic()
        try:
            with self._warning():
                for _left in followermod.rounds(self.followers, self.news):
                    if self._said or time.monotonic() - spoke > HEARTBEAT:
                        yield self._taken()
                        spoke = time.monotonic()
            with self._warning():
                self.finish()
            yield self._taken()
        finally:
            self.told.set()

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        '''say what is wrong with the journal: the reply must come to its end'''
        try:
            yield
        except (errors.DelegateError, OSError) as exc:
            printer.Printer(self).warn(*wording.of_error(exc))

    def _taken(self) -> bytes:
        said, self._said = self._said, []
        return b''.join(said)


class _LivePart:
    '''stands for the ``output`` parts of a bundle that are not there yet'''

    type = b'output'

    def __init__(self, broadcast: Broadcast):
        self.id: int | None = None
        self._broadcast = broadcast

    def getchunks(self, ui) -> Iterator[bytes]:
        assert self.id is not None
        for count, text in enumerate(self._broadcast.texts()):
            part = bundle2.bundlepart(b'output', data=text, mandatory=False)
            part.id = self.id + count
            # One chunk is one write, and none is ever half a part.
            yield b''.join(part.getchunks(ui))
