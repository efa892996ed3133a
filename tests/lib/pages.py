"""Pages of a web server, as a program gets them."""

from __future__ import annotations

import contextlib
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from world import World

STYLES = ('paper', 'coal', 'gitweb', 'monoblue', 'spartan')


def publish(world: World, what: str) -> None:
    """Let the host say so, by the server account's own hgrc."""
    world.server.write('.hgrc', f'[delegate]\nweb = {what}\n')


@dataclass(frozen=True)
class Page:
    status: int
    headers: Message
    text: str

    @property
    def content(self) -> str:
        """What is ours of it."""
        found = re.search('<main.*?</main>', self.text, re.DOTALL)
        assert found, self.text
        return found[0]

    @property
    def words(self) -> str:
        """The same without marks."""
        return ' '.join(re.sub('<[^>]*>', ' ', self.content).split())


def get(url: str, method: str = 'GET', **headers: str) -> Page:
    """The page at URL; HEADERS have _ for -."""
    fields = {name.replace('_', '-'): text for name, text in headers.items()}
    request = urllib.request.Request(url, headers=fields, method=method)
    try:
        reply = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        text = reply.read().decode('utf-8')
        return Page(reply.status, reply.headers, text)


class Live:
    """A reply that is read while it comes."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or '', parts.port, timeout=60
        )
        path = parts.path + (f'?{parts.query}' if parts.query else '')
        self._connection.request('GET', path)
        self.reply = self._connection.getresponse()
        self.text = ''

    def wait_for(self, text: str) -> None:
        while text not in self.text:
            data = self.reply.read1(65536)
            assert data, f'no {text!r} in {self.text!r}'
            self.text += data.decode('utf-8')

    def finish(self) -> str:
        self.text += self.reply.read().decode('utf-8')
        return self.text

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def live(url: str) -> Iterator[Live]:
    opened = Live(url)
    try:
        yield opened
    finally:
        opened.close()
