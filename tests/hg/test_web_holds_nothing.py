"""A live page holds nothing of hgweb's."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mercurial import (
    dispatch,  # noqa: F401  it fills tables of Mercurial's
    encoding,
    hg,
    hook,
    localrepo,
    ui as uimod,
)
from mercurial.hgweb import hgweb_mod, hgwebdir_mod

from hgext_delegate.extension import hooks, web, web_live
from hgext_delegate.state import (
    files,
    journal as journalmod,
    output_log,
    target_lock,
)


class Server:
    """The part of a web server that calls an application."""

    def __init__(self, application: Any, path: str) -> None:
        self.status = ''
        environ = {
            'REQUEST_METHOD': 'GET',
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '80',
            'wsgi.url_scheme': 'http',
            'wsgi.multithread': True,
            'wsgi.input': None,
        }
        self.body = application(environ, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = status


@pytest.fixture(name='path')
def a_repository_where_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bytes]:
    """Delegation 1 to blog, which has said 'step 1'."""
    hgrc = tmp_path / 'hgrc'
    hgrc.write_text('[delegate]\nweb = output\nblog = ssh://localhost\n')
    monkeypatch.setenv('HGRCPATH', str(hgrc))
    monkeypatch.setitem(encoding.environ, b'HGRCPATH', bytes(hgrc))
    monkeypatch.setattr(hooks, 'is_enabled', lambda _repo: True)
    # with the hook of hgweb for hooks' output
    monkeypatch.setattr(hook, 'redirect', lambda _on: None)
    web.install()
    path = bytes(tmp_path / 'repo')
    repo = hg.repository(uimod.ui.load(), path, create=True)
    paths = files.make(repo)
    with contextlib.closing(journalmod.open(paths.journal)) as journal:
        row = journal.get(journal.record('blog', '1' * 40, 'alice'))
        assert row and journal.claim(row, None)
    log = output_log.Log(paths.log(row.id), 1000)
    log.add([b'step 1'])
    log.close()
    with target_lock.turn(paths, 'blog', 0, lambda: False) as mine:
        assert mine
        yield path


def repositories() -> int:
    gc.collect()
    return sum(
        isinstance(each, localrepo.localrepository) for each in gc.get_objects()
    )


def test_a_live_page_holds_no_repository_and_ends_with_its_client(
    path: bytes,
) -> None:
    free = web_live.FOLLOWERS
    application = hgweb_mod.hgweb(path)
    server = Server(application, '/delegations/1')
    body = iter(server.body)
    text = b''
    while b'step 1' not in text:
        text += next(body)
    assert server.status.startswith('200') and b'refresh' not in text
    # another request gets it
    assert len(application._repos) == 1
    assert web_live._followers._value == free - 1
    body.close()
    assert web_live._followers._value == free


def test_nor_does_one_below_hgwebdir(path: bytes, tmp_path: Path) -> None:
    conf = tmp_path / 'hgweb'
    conf.write_bytes(b'[paths]\nblog = %s\n' % path)
    before = repositories()
    server = Server(hgwebdir_mod.hgwebdir(bytes(conf)), '/blog/delegations/1')
    body = iter(server.body)
    text = b''
    while b'step 1' not in text:
        text += next(body)
    assert repositories() == before
    body.close()
    assert web_live._followers._value == web_live.FOLLOWERS
