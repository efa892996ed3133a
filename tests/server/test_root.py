"""Root is no deploy account, whatever it is that makes it the user."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import accounts
import loopback
import pytest
import sshhome
import verdict
from repositories import Repository
from world import World

from hgext_delegate.ssh import session

pytestmark = pytest.mark.skipif(
    not accounts.ROOT, reason='ssh goes by the home of the real account'
)


def test_root_by_the_ssh_config_is_refused(
    world: World, repository: Repository
) -> None:
    world.server.write(
        '.ssh/config',
        f'Host blog\n  HostName localhost\n  Port {world.port}\n  User root\n',
        0o600,
    )
    clone = world.clone(repository)
    repository.hgrc('[delegate]\nblog = ssh://blog\n')
    clone.commit()
    reason = (
        f'no user is named for localhost port {world.port}, and the login '
        'would be as root'
    )
    assert verdict.among(clone.push().remote) == [verdict.pending(reason)]
    said = repository.hg('delegate-check', check=False).stdout
    assert re.search(rb'(?m)^error +blog +no user is named for local', said)
    setup = ('delegate-setup', 'blog', 'ssh://blog')
    assert b'no user is named' in repository.hg(*setup, check=False).stderr
    # what the remedy says
    repository.hgrc('[delegate]\nblog = ssh://blog\nblog:allow-root = yes\n')
    clone.commit()
    (end,) = verdict.among(clone.push().remote)
    assert end.detail.endswith(' refused the key as root')
    said = repository.hg('delegate-check', check=False).stdout
    assert re.search(rb'(?m)^warning +blog +root is root$', said)
    repository.hgrc(f'[delegate]\nblog = ssh://{world.deploy.name}@blog\n')
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'


def test_root_since_we_are_root_is_refused(
    server: loopback.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(user: str | None) -> str:
        how: dict[str, Any] = {
            'port': server.port,
            'identity': str(server.identity),
        }
        with pytest.raises(session.ConfigurationError) as caught:
            session.open('127.0.0.1', user=user, allow_root=False, **how)
        return caught.value.reason

    sshhome.move(tmp_path, monkeypatch)
    assert os.getuid() == 0
    for without_ssh in (False, True):
        if without_ssh:
            monkeypatch.setenv('PATH', '')
        assert attempt(None).endswith('and the login would be as root')
        assert 'would be as root' not in attempt('somebody')
