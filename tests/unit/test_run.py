"""What a receiver keeps of each id, and the processes that it runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hgext_delegate.receiver import process, run as runmod, server
from hgext_delegate.state import delegation, files, journal

pytestmark = pytest.mark.once


def opened(tmp_path: Path, clone: str = 'clone') -> runmod.Runs:
    return runmod.Runs(str(tmp_path / 'state'), str(tmp_path / clone))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[runmod.Runs]:
    runs = opened(tmp_path)
    yield runs
    runs.close()


def put(kept: runmod.Runs, number: int, state: str) -> delegation.Delegation:
    row = kept.record('%032x' % number, 'blog', '1' * 40)
    if state != delegation.PENDING:
        kept.claim(row, None)
    if state not in delegation.OPEN:
        kept.end(row.number, state, 0)
    return row


def test_the_end_is_kept_though_the_disk_is_full(
    kept: runmod.Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = put(kept, 1, delegation.RUNNING)
    spare = Path(kept.folder) / 'spare'
    assert spare.stat().st_blocks * 512 >= 32768
    writing = kept.journal.db.writing

    def full(*args: Any) -> Any:
        if spare.exists():
            raise journal.JournalError('the disk is full', '')
        return writing(*args)

    monkeypatch.setattr(kept.journal.db, 'writing', full)
    kept.end(row.number, delegation.FAILED, 3, 'reason')
    again = opened(tmp_path)
    ended = again.find(row.id)
    assert ended and (ended.state, ended.status) == (delegation.FAILED, 3)
    again.close()


def test_the_newest_hundred_are_kept_and_all_that_run(
    kept: runmod.Runs,
) -> None:
    # left by a receiver that was killed before it began, and never resumed
    put(kept, 1, delegation.PENDING)
    locks = []
    for number, state in ((2, delegation.PENDING), (3, delegation.RUNNING)):
        locks.append(kept.acquire(put(kept, number, state).id))
    for number in range(4, 111):
        put(kept, number, delegation.SUCCEEDED)
        Path(kept.log('%032x' % number).path).touch()
    # that has just come
    put(kept, 200, delegation.PENDING)
    assert [row.number for row in kept.held()] == [2, 3]
    kept.prune()
    left = {row.id for row in kept.journal.newest(None, 999)}
    assert left == {'%032x' % n for n in (2, 3, *range(11, 111), 200)}
    logs = {path.name for path in (Path(kept.folder) / 'log').iterdir()}
    assert logs == left - {'%032x' % 200}
    for lock in locks:
        assert lock is not None
        os.close(lock)
    assert kept.held() == []


def test_each_clone_has_runs_of_its_own(tmp_path: Path) -> None:
    one = opened(tmp_path, 'one')
    put(one, 1, delegation.SUCCEEDED)
    (tmp_path / 'link').symlink_to(tmp_path / 'one')
    assert opened(tmp_path, 'link').find('%032x' % 1)
    assert not opened(tmp_path, 'two').find('%032x' % 1)


def test_a_folder_that_others_may_write_is_refused(
    kept: runmod.Runs, tmp_path: Path
) -> None:
    for mode in (0o720, 0o702):
        os.chmod(kept.folder, mode)
        with pytest.raises(PermissionError) as refused:
            opened(tmp_path)
        assert refused.value.filename == kept.folder


def test_what_is_kept_is_for_its_account_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        kept = opened(tmp_path)
        row = put(kept, 1, delegation.RUNNING)
        kept.save_object(row.id, b'{}')
        kept.open_log(row.id).close()
        lock = kept.acquire_clone()
    finally:
        os.umask(old)
    found = list(Path(kept.folder).rglob('*'))
    assert len(found) == 9, found
    for path in [Path(kept.folder), *found]:
        mode = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == mode, path
    assert lock is not None
    os.close(lock)


def test_a_lock_is_held_by_whoever_has_its_descriptor(
    kept: runmod.Runs,
) -> None:
    id = put(kept, 1, delegation.PENDING).id
    lock = kept.acquire(id)
    assert lock is not None and kept.is_held(id) and kept.acquire(id) is None
    fifo = kept.folder + '/go'
    os.mkfifo(fifo)

    def wait() -> None:
        os.close(os.open(fifo, os.O_RDONLY))

    process.detach(wait, lock)
    os.close(lock)
    assert kept.is_held(id)
    os.close(os.open(fifo, os.O_WRONLY))
    while kept.is_held(id):
        pass


def test_a_log_is_bounded_and_says_what_it_dropped(
    kept: runmod.Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runmod, 'LIMIT', 10)
    log = kept.open_log('a' * 32)
    log.write(b'12345678')
    log.write(b'90x\n')
    log.write(b'y\n')
    runmod.say(log, 'over', 'remedy')
    log.close()
    assert Path(kept.log('a' * 32).path).read_bytes() == files.FIRST_LINE + (
        b'[1 lines, 12 bytes left out]\ny\ndelegate-receive: over\n(remedy)\n'
    )


def test_what_has_lost_its_record_is_not_run_again(kept: runmod.Runs) -> None:
    Path(kept.log('a' * 32).path).touch()
    # and what an older version has run
    (Path(kept.folder) / ('b' * 32)).mkdir()
    for id in ('a' * 32, 'b' * 32):
        row = kept.record(id, 'blog', '1' * 40)
        assert (row.state, row.status) == (delegation.LOST, runmod.EXIT_LOST)
        assert kept.claim(row, None) is None
    assert kept.record('c' * 32, 'blog').state == delegation.PENDING


def test_what_was_cancelled_is_not_over_until_it_has_ended(
    kept: runmod.Runs,
) -> None:
    row = put(kept, 1, delegation.PENDING)
    kept.journal.cancel(row.number, 'somebody')
    assert kept.claim(row, None) is None
    asked = kept.find(row.id)
    assert asked and not runmod.is_over(asked)
    kept.close_run(row.id)
    ended = kept.find(row.id)
    assert ended and runmod.is_over(ended)
    assert (ended.state, ended.status) == (delegation.CANCELLED, 125)


def test_a_record_outlives_a_power_failure(kept: runmod.Runs) -> None:
    # 2 is FULL: each transaction is on the disk at its end
    assert kept.journal.db.select('PRAGMA synchronous') == [(2,)]


def test_a_state_without_a_status_is_no_success(kept: runmod.Runs) -> None:
    assert server.exit_status(put(kept, 1, delegation.PENDING)) == 120


Run = Callable[..., 'tuple[int, bytes]']


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def to_end(script: str, check: Callable[[], None] = lambda: None):
        told = bytearray()
        path = {'PATH': os.environ['PATH']}
        started = process.start(['sh', '-c', script], str(tmp_path), path)
        status = started.wait(told.extend, check)
        return status, bytes(told)

    return to_end


def test_a_job_hands_on_output_and_end(run: Run) -> None:
    assert run('echo one; echo two >&2; exit 4') == (4, b'one\ntwo\n')
    assert run('exec >&- 2>&-; sleep 0.1; exit 5') == (5, b'')
    assert run('kill -USR1 $$') == (-signal.SIGUSR1, b'')
    assert run('echo >/dev/stderr; cat; pwd')[1].count(b'\n') == 2
    assert run('[ "$(ps -o sid= $$)" -eq $$ ]')[0] == 0


def test_a_job_starts_with_every_signal_as_usual(run: Run) -> None:
    ignored = int(run('grep SigIgn /proc/$$/status')[1].split()[1], 16)
    # the real-time ones above are those of whoever runs the tests
    assert not ignored & 0x7FFFFFFF


def test_a_function_in_a_child_is_a_process_like_any_other() -> None:
    told = bytearray()

    def work() -> None:
        os.write(1, b'%d\n' % os.getsid(0))
        os.write(2, os.read(0, 10) + b'two\n')

    child = process.fork(work)
    assert child.wait(told.extend, lambda: None) == 0
    assert bytes(told) == b'%d\ntwo\n' % child.session

    def fail() -> None:
        raise SystemExit(0)

    assert process.fork(fail).wait(told.extend, lambda: None) == 1
    hanging = process.fork(lambda: time.sleep(900))

    def check() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        hanging.wait(told.extend, check)
    assert process.members(hanging.session) == set()


def test_a_child_ends_with_its_parent() -> None:
    reading, writing = os.pipe()

    def parent() -> None:
        def hang() -> None:
            os.system('sleep 900')

        child = process.fork(hang)
        while len(process.members(child.session)) < 3:
            time.sleep(0.01)
        os.write(writing, b'%d' % child.session)
        os.kill(os.getpid(), signal.SIGKILL)

    process.detach(parent, writing)
    os.close(writing)
    session = int(os.read(reading, 100))
    while process.members(session):
        time.sleep(0.01)


def test_a_filter_that_holds_lines_is_waited_for(run: Run) -> None:
    status, told = run(
        '(sleep 0.5; echo one; sleep 1; echo two) & echo first; exit 3'
    )
    assert (status, told) == (3, b'first\none\ntwo\n')


def test_what_never_stops_talking_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, 'LONGEST', 0.5)
    script = '(while :; do echo tick; sleep 0.05; done) & echo first; exit 4'
    path = {'PATH': os.environ['PATH']}
    started = process.start(['sh', '-c', script], str(tmp_path), path)
    told = bytearray()
    assert started.wait(told.extend, lambda: None) == 4
    assert started.is_kept_open and b'tick' in told
    process.end_session(started.session, lambda: time.sleep(0.01))


def test_members_of_a_session_are_found_in_all_its_groups(
    tmp_path: Path,
) -> None:
    path = {'PATH': os.environ['PATH'], 'MARK': 'mine'}
    script = 'timeout 900 sleep 900 & set -m; sleep 900 & echo begun; wait'
    started = process.start(['bash', '-c', script], str(tmp_path), path)
    told = bytearray()

    class Enough(Exception):
        pass

    def check() -> None:
        if b'begun' in told and len(process.members(started.session)) == 4:
            assert process.marked_sessions('MARK', 'mine') == {started.session}
            assert process.marked_sessions('MARK', 'min') == set()
            raise Enough

    with pytest.raises(Enough):
        started.wait(told.extend, check)
    assert process.members(started.session) == set()


class ChildFirst(set[int]):
    """Processes; of what is left without OTHER the youngest comes first."""

    def __sub__(self, other: Any) -> Any:
        return sorted(set(self).difference(other), reverse=True)


def test_what_is_ended_does_not_go_on_to_its_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, kill = process.members, os.kill
    monkeypatch.setattr(process, 'members', lambda id: ChildFirst(members(id)))

    def slowly(pid: int, number: int) -> None:
        kill(pid, number)
        time.sleep(0.05)  # in which a shell would go on

    monkeypatch.setattr(os, 'kill', slowly)
    said = bytearray()
    script = 'echo begun; sleep 60; echo went on'
    path = {'PATH': os.environ['PATH']}
    started = process.start(['sh', '-c', script], str(tmp_path), path)

    def check() -> None:
        if said and len(members(started.session)) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        started.wait(said.extend, check)
    assert said == b'begun\n'
