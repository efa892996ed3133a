"""A host name is looked up in a thread, which must not fail on its own."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from hgext_delegate.ssh import deadline_socket


def test_an_ascii_name_needs_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def record(host: Any, *rest: int) -> list[Any]:
        asked.append(host)
        return []

    monkeypatch.setattr(socket, 'getaddrinfo', record)
    limit = deadline_socket.Deadline()
    limit.set(60, 'too late')
    deadline_socket._lookup('localhost', 22, socket.AF_UNSPEC, limit)
    assert asked == [b'localhost']


def test_a_codec_that_is_missing_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(host: Any, *rest: int) -> list[Any]:
        raise LookupError('unknown encoding: idna')

    monkeypatch.setattr(socket, 'getaddrinfo', fail)
    limit = deadline_socket.Deadline()
    limit.set(60, 'too late')
    with pytest.raises(socket.gaierror):
        deadline_socket._lookup('b\xfccher', 22, socket.AF_UNSPEC, limit)
