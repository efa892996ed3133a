"""A home with an ssh_config, and sessions that go by it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import loopback
import pytest

from hgext_delegate.ssh import session

# An ssh to which the home is $HOME.
BIN = Path(__file__).with_name('bin')


def move(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make HOME the home of this process, for ssh as well."""
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.setenv('PATH', f'{BIN}:{os.environ["PATH"]}')


def configure(home: Path, text: str) -> None:
    (home / '.ssh' / 'config').write_text(text, 'utf-8')


def status(host: str, **how: Any) -> int | None:
    with session.open(host, **how) as opened:
        return opened.execute(
            'true',
            b'',
            lambda stream, data: None,
            lambda: None,
            idle_timeout=60,
            timeout=60,
        ).status


def failure(host: str, **how: Any) -> Any:
    with pytest.raises(session.SessionError) as caught:
        status(host, **how)
    assert not caught.value.started
    return caught.value


def alias(sshd: loopback.Sshd, name: str = 'alias') -> str:
    return (
        f'Host {name}\n'
        f'  HostName {sshd.address}\n'
        f'  Port {sshd.port}\n'
        f'  IdentityFile {sshd.identity}\n'
    )


def know(home: Path, sshd: loopback.Sshd) -> None:
    line = f'{sshd.name} {sshd.hostkey()}\n'
    (home / '.ssh' / 'known_hosts').write_text(line, 'ascii')
