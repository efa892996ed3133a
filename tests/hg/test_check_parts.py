"""What hg delegate-check says of configuration, accounts and the record."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mercurial import (
    dispatch,  # noqa: F401 - 7.2 needs it first
    hg,
    ui as uimod,
    util,
)
from snapshot import contents

from hgext_delegate import imports
from hgext_delegate.commands.check import (
    account,
    command,
    config,
    finding,
    records,
    rights,
    serving,
)
from hgext_delegate.config import targets as targetsmod
from hgext_delegate.push import outbox
from hgext_delegate.state import delegation, journal as journalmod, target_lock

TARGET: Any = types.SimpleNamespace(name='blog', allow_root=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can get to, and a home in it."""
    path = Path(tempfile.mkdtemp(dir='/var/tmp', prefix='hg-delegate-check-'))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = folder / 'home'
    (home / '.ssh').mkdir(parents=True)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.delenv('XDG_CONFIG_HOME', raising=False)
    # the checkout may lie anywhere
    monkeypatch.setattr(imports.extension(), '__path__', [str(home / 'code')])
    return home


@pytest.fixture
def ui(monkeypatch: pytest.MonkeyPatch) -> Any:
    return uimod.ui()


@pytest.fixture
def repo(ui: Any, folder: Path) -> Any:
    return hg.repository(ui, bytes(folder / 'repo'), create=True)


def levels(findings: Any) -> list[tuple[bytes, bytes]]:
    return [(f.level, f.message) for f in findings if f.level != finding.OK]


# configuration


def read_untrusted(
    ui: Any, file: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(text)
    monkeypatch.setattr(type(ui), '_trusted', lambda self, fp, f: False)
    ui.readconfig(bytes(file))


def test_an_untrusted_file_is_named_with_its_owner(
    ui: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui.setconfig(b'delegate', b'blog', b'ssh://host')
    ui.setconfig(b'delegate', b'same', b'ssh://host')
    file = folder / 'hgrc'
    read_untrusted(
        ui,
        file,
        '[delegate]\nblog:when = none()\nblog:wait = no\nsame = ssh://host\n'
        'more = ssh://other\nkeep = 3\n\x1b[2J = x\n',
        monkeypatch,
    )
    if os.getuid() == 0:
        os.chown(file, 4_000_001, -1)
    owner = util.username(os.stat(file).st_uid).decode()
    found = {each.target: each for each in config.untrusted(ui)}
    assert len(config.untrusted(ui)) == len(found)
    assert set(found) == {b'blog', b'more', b''}
    blog, more, other = found[b'blog'], found[b'more'], found[b'']
    assert blog.level == other.level == finding.WARNING
    ignored = f'what {file} says of it does not count: it belongs to {owner}'
    assert blog.message.decode() == ignored
    assert more.level == finding.ERROR
    assert more.message.decode() == (
        f'{file} has this target, and does not count: it belongs to {owner}'
    )
    assert f"'users = {owner}' into [trusted]" in more.remedy.decode()


def test_a_repository_of_another_account_is_a_warning(
    ui: Any, repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui.setconfig(b'delegate', b'blog', b'ssh://host')
    monkeypatch.setattr(config, '_enabled', lambda ui, about, _: about.ok(b''))
    assert levels(config.general(ui, repo)) == []
    monkeypatch.setattr(os, 'geteuid', lambda: 4_000_001)
    ((level, message),) = levels(config.general(ui, repo))
    assert level == finding.WARNING
    assert message.endswith(b'and this is run by 4000001')


@pytest.mark.parametrize(
    ('when', 'good'), [('branch(soon)', True), ('branch(', False), (')', False)]
)
def test_before_the_first_push_only_the_grammar_of_a_revset_is_looked_at(
    ui: Any, repo: Any, when: str, good: bool
) -> None:
    ui.setconfig(b'delegate', b'blog', b'ssh://host')
    ui.setconfig(b'delegate', b'blog:when', when.encode())
    ((target,), _mistakes) = targetsmod.read(ui)
    assert bool(levels(config.of_target(ui, repo, target))) != good


def test_without_paramiko_the_rest_is_looked_at(
    ui: Any, repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete() -> None:
        raise ImportError('No module named paramiko')

    monkeypatch.setattr(imports, 'complete', complete)
    # this process has loaded it in another way
    monkeypatch.setattr(serving, 'enabled', lambda ui: ('delegate', '', []))
    monkeypatch.setattr(serving, 'roads', list)
    ui.setconfig(b'delegate', b'blog', b'ssh://host')
    targets, _mistakes = targetsmod.read(ui)
    findings = [*command._findings(ui, repo, targets, [], [b'blog'])]
    (bad,) = [f for f in findings if f.topic == b'server']
    assert bad.level == finding.ERROR
    assert bad.message == b'cannot log in anywhere: paramiko cannot be imported'
    assert bad.remedy.startswith(b'install paramiko')
    assert {f.topic for f in findings} >= {b'config', b'journal', b'http'}


# the deploy account


def suppose(
    monkeypatch: pytest.MonkeyPatch,
    uid: int = 4_000_001,
    *groups: int,
    **more: str,
) -> None:
    made = rights.Account('hg-blog', uid, frozenset(groups), **more)
    monkeypatch.setattr(rights, 'account', lambda name: made)


def of_account(ui: Any, repo: Any, *keys: Path) -> list[finding.Finding]:
    paths = [str(key) for key in keys]
    return [*account.check(ui, repo, TARGET, 'hg-blog', paths)]


@pytest.mark.parametrize(
    ('what', 'said'),
    [
        ({'shell': '/usr/sbin/nologin'}, b'the shell of hg-blog, /usr'),
        ({'shell': '/no/shell'}, b'the shell of hg-blog, /no/shell, runs no'),
        ({'home': '/nonexistent'}, b'the home of hg-blog, /none'),
    ],
)
def test_an_account_in_which_nothing_can_run_is_named(
    ui: Any,
    repo: Any,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: dict[str, str],
    said: bytes,
) -> None:
    suppose(monkeypatch, 4_000_001, **what)
    bad, good = of_account(ui, repo)
    assert bad.level == finding.ERROR and bad.message.startswith(said)
    assert good.level == finding.OK


def test_an_account_without_any_rights_is_fine(
    ui: Any, repo: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppose(monkeypatch)
    (good,) = of_account(ui, repo)
    assert good.level == finding.OK
    assert good.message.startswith(b'hg-blog reads no key and writes')


@pytest.mark.parametrize(
    ('uid', 'said'),
    [(0, b'hg-blog is root'), (None, b'hg-blog is the server account itself')],
)
def test_root_and_the_server_account_are_errors(
    ui: Any,
    repo: Any,
    monkeypatch: pytest.MonkeyPatch,
    uid: int | None,
    said: bytes,
) -> None:
    monkeypatch.setattr(os, 'geteuid', lambda: 4_000_001)
    suppose(monkeypatch, 4_000_001 if uid is None else uid)
    (bad,) = of_account(ui, repo)
    assert (bad.level, bad.message) == (finding.ERROR, said)
    assert bad.remedy


def test_an_account_that_this_machine_does_not_know_is_a_warning(
    ui: Any, repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, 'account', lambda name: None)
    (bad,) = of_account(ui, repo)
    assert bad.level == finding.WARNING
    assert bad.message == b'hg-blog is not an account of this machine'
    assert b'container' in bad.remedy


def test_a_private_key_that_it_may_read_is_an_error(
    ui: Any, repo: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppose(monkeypatch)
    key = home / '.ssh' / 'key'
    key.touch()
    key.chmod(0o604)
    (bad,) = of_account(ui, repo, key)
    assert bad.level == finding.ERROR
    assert bad.message.decode() == f'hg-blog may read the private key {key}'
    assert bad.remedy.decode() == f'as everybody may: chmod o-r {key}'


# what is made writable, below the folder of the test
PLACES = [
    'repo/.hg',
    'repo/.hg/hgrc',
    'repo/.hg/store',
    'repo/.hg/store/00changelog.i',
    'repo/.hg/delegate',
    'repo',
    'home',
    'home/.ssh',
    'home/.ssh/config',
    'home/.config/hg-delegate/keys',
    'home/.hgrc',
    'home/code',
]


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('how', ['group', 'others'])
def test_what_it_may_write_of_the_server_accounts_is_an_error(
    ui: Any,
    repo: Any,
    folder: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    how: str,
) -> None:
    group = os.getgid()
    suppose(monkeypatch, 4_000_001, *([group] if how == 'group' else []))
    for name in PLACES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name in ('hgrc', '.hgrc', 'config', '00changelog.i'):
            path.write_text('[a]\nb = c\n')
        else:
            path.mkdir(exist_ok=True)
    for path in folder.rglob('*'):
        os.chown(path, -1, group)
        path.chmod(0o755)
    ui.readconfig(bytes(home / '.hgrc'))
    assert of_account(ui, repo)[0].level == finding.OK
    wrong = folder / place
    wrong.chmod(0o775 if how == 'group' else 0o757)
    (bad,) = of_account(ui, repo)
    assert bad.level == finding.ERROR
    assert bad.message.decode() == f'hg-blog may write {wrong}'
    remedy = bad.remedy.decode()
    if how == 'group':
        assert remedy.startswith('by the group ')
        assert remedy.endswith(f', or chmod g-w {wrong}')
        assert 'gpasswd -d hg-blog ' in remedy
    else:
        assert remedy == f'as everybody may: chmod o-w {wrong}'


def test_what_it_owns_and_what_an_acl_gives_it_have_their_own_remedies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(folder)
    owner = rights.Account('hg-blog', os.getuid(), frozenset())
    remedy = account._remedy(owner, path, rights.READ).decode()
    assert re.fullmatch(rf'it owns it: chown \S+ {path}', remedy)
    monkeypatch.setattr(rights, 'read_acl', lambda path: b'some')
    other = rights.Account('hg-blog', 4_000_001, frozenset())
    remedy = account._remedy(other, path, rights.WRITE).decode()
    assert remedy == f'it has an ACL: see getfacl {path}'


# outbox and journal


def of_journal(repo: Any) -> list[finding.Finding]:
    return [*records.check(repo, [b'blog'])]


@pytest.fixture
def record(repo: Any) -> Path:
    record = Path(os.fsdecode(repo.path), 'delegate')
    record.mkdir()
    return record


def test_a_repository_without_a_journal_is_fine_and_gets_none(
    repo: Any,
) -> None:
    before = contents(Path(os.fsdecode(repo.path)))
    assert levels(of_journal(repo)) == []
    assert contents(Path(os.fsdecode(repo.path))) == before


def files(folder: Path) -> dict[Path, Any]:
    """All that is in FOLDER but the memory that sqlite's readers share."""
    found = contents(folder).items()
    return {
        path: file for path, file in found if not path.name.endswith('-shm')
    }


def running(record: Path) -> journalmod.Journal:
    journal = journalmod.open(str(record / 'journal'))
    number = journal.record('blog', 'a' * 40, None)
    row = journal.get(number)
    assert row and journal.claim(row, None)
    return journal


def test_a_delegation_whose_process_is_gone_is_named(
    repo: Any, record: Path
) -> None:
    journal = running(record)
    before = files(record)
    assert levels(of_journal(repo)) == [
        (finding.WARNING, b'delegation 1 is abandoned: its process has ended')
    ]
    # what waits beside the file for the next to open it is left there
    assert files(record) == before
    assert (record / 'journal-wal').stat().st_size
    with open(record / 'blog.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert levels(of_journal(repo)) == []
    assert levels(of_journal(repo)) != []
    journal.close()


def test_what_may_have_run_is_named_with_how_to_ask(
    repo: Any, record: Path
) -> None:
    journal = running(record)
    journal.note_exec(1)
    journal.close_abandoned('blog', resumable=True)
    asked, waits = [f for f in of_journal(repo) if f.target]
    assert asked.message.startswith(b'delegation 1 may have run')
    assert asked.remedy == b"'hg delegate --pending blog' asks it"
    assert b'contrib/delegate-pending' in waits.remedy
    journal.close()


def test_what_a_killed_process_left_of_the_journal_is_read_and_stays(
    repo: Any, record: Path, tmp_path: Path
) -> None:
    journal = running(tmp_path)
    for name in ('journal', 'journal-wal', 'journal-shm'):
        shutil.copy(tmp_path / name, record)
    journal.close()
    before = files(record)
    assert len(levels(of_journal(repo))) == 1
    assert files(record) == before


def test_one_that_ends_while_it_is_looked_at_is_not_abandoned(
    repo: Any, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = running(record)

    def is_held(path: str) -> bool:
        journal.end(1, delegation.SUCCEEDED)
        return False

    monkeypatch.setattr(target_lock, 'is_held', is_held)
    assert levels(of_journal(repo)) == []
    journal.close()


def push(txn: str) -> outbox.Entry:
    pushed = {
        'node': 'a' * 40,
        'node_last': 'a' * 40,
        'pusher': None,
        'source': 'serve',
        'time': '2026-01-01T00:00:00Z',
    }
    return outbox.Entry(int(txn), txn, ('blog', 'other'), pushed)


def test_pushes_that_wait_are_counted(repo: Any, record: Path) -> None:
    entries = push('1'), push('2'), push('3')
    with repo.lock():
        outbox.write_now(repo, outbox.Outbox(4, entries))
    journal = journalmod.open(str(record / 'journal'))
    journal.record('blog', 'a' * 40, None, '2', 2)
    journal.unmatched('blog', '3')
    before = files(Path(os.fsdecode(repo.path)))
    assert levels(of_journal(repo)) == [
        (finding.WARNING, b'pushes that wait for it: 2')
    ]
    assert files(Path(os.fsdecode(repo.path))) == before
    with open(record / 'blog.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (good,) = [f for f in of_journal(repo) if f.target]
        assert (
            good.message == b'no delegation is abandoned, 2 pushes are waiting'
        )
    journal.close()


def test_a_journal_of_a_newer_version_is_an_error(
    repo: Any, record: Path
) -> None:
    with sqlite3.connect(record / 'journal') as db:
        db.execute('PRAGMA user_version = 99')
    db.close()
    (bad,) = [f for f in of_journal(repo) if f.level != finding.OK]
    assert bad.level == finding.ERROR
    assert bad.message == b'the journal is of a newer version (99)'
    assert bad.remedy.startswith(b'upgrade')


@pytest.mark.parametrize('name', ['', 'journal', 'log'])
def test_what_a_push_cannot_write_is_an_error(
    repo: Any, record: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    journalmod.open(str(record / 'journal')).close()
    (record / 'log').mkdir()
    (record / 'blog.lock').touch()
    wrong = str(record / name) if name else str(record)
    monkeypatch.setattr(
        os, 'access', lambda path, mode: mode == os.R_OK or path != wrong
    )
    ((level, message),) = levels(of_journal(repo))
    assert (level, message.decode()) == (
        finding.ERROR,
        f'{wrong} cannot be written',
    )


def test_damaged_lines_of_the_outbox_are_counted(repo: Any) -> None:
    repo.svfs.write(b'delegate-outbox', b'{}\nnonsense\n')
    assert levels(of_journal(repo)) == [
        (finding.WARNING, b'the outbox has damaged lines: 2')
    ]


def test_an_outbox_that_cannot_be_read_is_an_error(repo: Any) -> None:
    os.mkdir(repo.svfs.join(b'delegate-outbox'))
    assert levels(of_journal(repo)) == [
        (finding.ERROR, b'the outbox cannot be read: Is a directory')
    ]


def test_a_transaction_that_was_left_is_an_error(repo: Any) -> None:
    repo.svfs.write(b'journal', b'')
    with repo.lock():
        assert levels(of_journal(repo)) == []
    ((level, message),) = levels(of_journal(repo))
    assert level == finding.ERROR and b'a push was killed' in message
