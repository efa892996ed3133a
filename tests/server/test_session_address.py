"""Addresses that refuse, swallow, or lead nowhere."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import loopback
import pytest
import sshhome


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def key(home: Path) -> str:
    return str(loopback.keygen(home / 'key'))


def test_a_refused_connection_is_told(key: str) -> None:
    port = closed_port()
    error = sshhome.failure('127.0.0.1', port=port, identity=key)
    assert error.reason == f'connection refused by 127.0.0.1 port {port}'
    assert 'sshd' in error.remedy


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'x' * 300])
def test_a_name_that_means_nothing_is_told(key: str, host: str) -> None:
    error = sshhome.failure(host, identity=key)
    assert error.reason == f'the name {host} cannot be resolved'


def test_a_name_that_is_not_resolved_in_time_is_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(
        socket, 'getaddrinfo', lambda *args, **kw: answered.wait(60) and []
    )
    error = sshhome.failure('somewhere', identity=key, connect_timeout=0.5)
    answered.set()
    assert error.reason == (
        'timed out after 0.5 s while connecting to somewhere port 22'
    )


def test_a_host_that_does_not_answer_is_told(key: str) -> None:
    with loopback.black_hole() as port:
        error = sshhome.failure(
            '127.0.0.1', port=port, identity=key, connect_timeout=1
        )
    assert error.reason == (
        f'timed out after 1 s while connecting to 127.0.0.1 port {port}'
    )


def resolve_to(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]
) -> None:
    answer = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, '', address)
        for address in addresses
    ]
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args, **kw: answer)


def test_an_address_that_swallows_everything_does_not_hide_the_next(
    sshd: loopback.Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback.black_hole() as port:
        resolve_to(
            monkeypatch,
            ('127.0.0.1', port),
            ('127.0.0.1', closed_port()),
            ('127.0.0.1', sshd.port),
        )
        code = sshhome.status(
            'somewhere',
            port=sshd.port,
            identity=str(sshd.identity),
            hostkeys=[sshd.hostkey()],
            connect_timeout=6,
        )
    assert code == 0


def test_of_several_errors_the_refusal_is_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(
        monkeypatch, ('127.0.0.1', closed_port()), ('255.255.255.255', 1)
    )
    error = sshhome.failure('somewhere', identity=key)
    assert error.reason == 'connection refused by somewhere port 22'


def test_a_missing_route_is_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: Any) -> None:
        raise OSError(113, 'No route to host')

    resolve_to(monkeypatch, ('127.0.0.1', 1))
    monkeypatch.setattr(socket.socket, 'connect', unreachable)
    error = sshhome.failure('somewhere', identity=key)
    assert error.reason == 'no route to somewhere port 22'
