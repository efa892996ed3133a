# SPDX-License-Identifier: GPL-2.0-or-later
'''how a pusher over HTTP hears a delegation: in the reply, while it is sent

hgweb buffers what hooks print and sends it at the end. But the reply to a
push is a bundle that is made while it is sent, and may have any number of
``output`` parts. So the hook only starts a process that delegates. What is
said later goes into the reply, a part for a few lines; stock clients show each
at once. The reply to ``pushkey`` is a number and text, which they show at its
end; blanks before the number keep it going.
'''

from __future__ import annotations

import contextlib
import functools
import io
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mercurial import (
    bundle2,
    exchange,
    extensions,
    hg,
    wireprotoserver,
    wireprototypes,
    wireprotov1server,
)

from .. import errors
from ..report import follower as followermod, printer, wording
from ..state import files, journal

if TYPE_CHECKING:
    Broadcasts = list[tuple[files.Paths, list[followermod.Follower]]]

# A proxy ends a reply that is silent for too long (nginx after a minute), and
# only a failed write tells that the client is gone.
HEARTBEAT = 10.0

# A client that takes nothing for so long, in seconds, loses its connection.
PATIENCE = 60


@functools.cache
def install() -> None:
    '''send the replies of this process while they are made; only once'''
    # hgweb keeps a repository object until one of these files has changed
    hg.foi.append(('path', b'hgrc'))
    extensions.wrapfunction(exchange, 'unbundle', _unbundle)
    extensions.wrapfunction(wireprotoserver, 'handlewsgirequest', _handle)
    entry = wireprotov1server.commands[b'pushkey']
    entry.func = functools.partial(_pushkey, entry.func)


def _handle(orig, rctx, req, res, checkperm) -> Any:
    if req.qsparams.get(b'cmd') in (b'unbundle', b'pushkey'):
        # nginx would buffer the reply, and other proxies would compress it
        res.headers[b'X-Accel-Buffering'] = b'no'
        res.headers[b'Cache-Control'] = b'no-transform'
        limit_patience(req.rawenv)
    return orig(rctx, req, res, checkperm)


def limit_patience(environ: Mapping[bytes, Any]) -> None:
    '''let the kernel end the connection of a client that stops reading

    Else it keeps a thread of the server and a log open, for ever with hg serve
    and gunicorn's gthread. Other servers have a limit of their own.
    '''
    stream = environ.get(b'wsgi.input')
    # hg serve may have it wrapped, for Expect: 100-continue
    source = environ.get(b'gunicorn.socket', getattr(stream, 'f', stream))
    try:
        connection = socket.socket(fileno=os.dup(source.fileno()))
    except (AttributeError, OSError):
        return
    with connection, contextlib.suppress(OSError):
        level, option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
        connection.setsockopt(level, option, PATIENCE * 1000)


def _unbundle(orig, repo, cg, heads, source, url) -> Any:
    over_http = url.startswith((b'remote:http:', b'remote:https:'))
    if not over_http or not isinstance(cg, bundle2.unbundle20):
        return orig(repo, cg, heads, source, url)
    repo = repo.unfiltered()
    with _broadcasting(repo) as broadcasts:
        reply = orig(repo, cg, heads, source, url)
    # Some clients want no reply.
    if hasattr(reply, 'addpart'):
        for paths, followers in broadcasts:
            texts = Broadcast(repo.ui, paths, followers).texts()
            reply.addpart(_LivePart(texts))
    return reply


@contextlib.contextmanager
def _broadcasting(repo) -> Iterator[Broadcasts]:
    '''what is delegated in this block goes on, and is told by the reply'''
    # whoever starts a delegation adds it
    broadcasts: Broadcasts = []
    repo._delegate_broadcasts = broadcasts
    try:
        yield broadcasts
    finally:
        del repo._delegate_broadcasts


def _pushkey(orig, repo, proto, namespace, *args) -> Any:
    with _broadcasting(repo.unfiltered()) as broadcasts:
        reply = orig(repo, proto, namespace, *args)
    if not broadcasts:
        return reply
    asked = namespace == b'delegate'
    chunks = _lasting(repo.ui, reply.data, broadcasts, asked)
    return wireprototypes.streamreslegacy(chunks)


def _lasting(
    ui, reply: bytes, broadcasts: Broadcasts, asked: bool
) -> Iterator[bytes]:
    '''``reply``, with what is told later; if the delegations are what was
    ``asked`` for, it is 1 only if all of them have succeeded'''
    number, _newline, said = reply.partition(b'\n')
    for paths, followers in broadcasts:
        for text in Broadcast(ui, paths, followers).texts():
            said += text
            yield b' '
        if asked and not all(each.succeeded for each in followers):
            number = b'0'
    yield number + b'\n' + said


class Broadcast:
    '''what ``followers`` tell, as text, while the reply is sent

    Nothing is opened before: a client that goes away at once asks for none.
    '''

    def __init__(
        self, ui, paths: files.Paths, followers: Sequence[followermod.Follower]
    ):
        # ui.copy() is without what the repository's hgrc says
        self._ui = type(ui)(ui)
        # what a Printer flushes is not the output of the server
        self._ui.fout = self._ui.ferr = io.BytesIO()
        self._ui.pushbuffer(error=True)
        self._paths = paths
        self._followers = followers

    def texts(self) -> Iterator[bytes]:
        '''whole lines, as they come; empty ones as a heartbeat'''
        spoke = time.monotonic()
        with self._warning(), self._opened():
            for _left in followermod.rounds(self._followers, threading.Event()):
                text = self._taken()
                if text or time.monotonic() - spoke > HEARTBEAT:
                    yield text
                    spoke = time.monotonic()
        yield self._taken()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        '''let the followers read the journal, and tell the reply'''
        paths = self._paths
        opened = journal.open(paths.journal)
        with contextlib.closing(opened):
            for follower in self._followers:
                follower.journal = opened
                follower.printer = printer.Printer(self._ui)
            yield
            if opened.last_error:
                raise opened.last_error

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        '''say what is wrong with the journal: the reply must be complete'''
        try:
            yield
        except (errors.DelegateError, OSError) as exc:
            printer.Printer(self._ui).warn(*wording.of_error(exc))

    def _taken(self) -> bytes:
        text = self._ui.popbuffer()
        self._ui.pushbuffer(error=True)
        return text


class _LivePart:
    '''in a bundle, the ``output`` parts that are still to come'''

    type = b'output'

    def __init__(self, texts: Iterator[bytes]):
        self.id: int | None = None
        self._texts = texts

    def getchunks(self, ui) -> Iterator[bytes]:
        assert self.id is not None
        for count, text in enumerate(self._texts):
            part = bundle2.bundlepart(b'output', data=text, mandatory=False)
            part.id = self.id + count
            # one chunk is one write, so no part is ever sent half
            yield b''.join(part.getchunks(ui))
