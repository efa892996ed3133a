"""What a receiver knows of each id, and the programs that it runs."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hgext_delegate import protocol
from hgext_delegate.receiver import (
    detach,
    follow,
    process,
    run_store,
    runlog,
)

pytestmark = pytest.mark.once


@pytest.fixture
def kept(tmp_path: Path) -> run_store.Runs:
    return run_store.Runs(str(tmp_path / 'state'), str(tmp_path / 'clone'))


def put(kept: run_store.Runs, number: int, state: str) -> run_store.Run:
    run = kept.get('%032x' % number)
    run.write(run_store.State(run.id, 'blog', '1' * 40, state, number=number))
    return run


def test_the_last_state_needs_no_more_room(kept: run_store.Runs) -> None:
    run = kept.get('a' * 32)
    state = run_store.State(run.id, 'blog', None, run_store.RUNNING)
    run.write(state)
    reserved = os.stat(os.path.join(run.path, 'state.new'))
    ended = dataclasses.replace(state, state=run_store.LOST, reason='x' * 3000)
    run.write(ended)
    assert run.read() == ended
    written = os.stat(os.path.join(run.path, 'state'))
    assert (written.st_ino, written.st_size) == (
        reserved.st_ino,
        reserved.st_size,
    )
    assert sorted(os.listdir(run.path)) == ['state']


def test_the_newest_hundred_are_kept_and_all_that_run(
    kept: run_store.Runs,
) -> None:
    for number in range(1, 111):
        run = put(kept, number, run_store.SUCCEEDED)
        # by a clock that was set back meanwhile
        time = 10**9 - number
        os.utime(os.path.join(run.path, 'state'), (time, time))
    locks = []
    # left by a receiver that was killed before it began, and never resumed
    put(kept, 1, run_store.PENDING)
    for number, state in ((2, run_store.PENDING), (3, run_store.RUNNING)):
        locks.append(put(kept, number, state).acquire())
    # that has just come
    kept.get('f' * 32)
    assert kept.count_open() == 2
    kept.prune()
    left = [int(run.id, 16) for run in kept.all()]
    assert sorted(left) == [2, 3, *range(12, 111), int('f' * 32, 16)]
    for lock in locks:
        assert lock is not None
        os.close(lock)
    assert kept.count_open() == 0


def test_each_clone_has_runs_of_its_own(tmp_path: Path) -> None:
    state = str(tmp_path / 'state')
    one = run_store.Runs(state, str(tmp_path / 'one'))
    put(one, 1, run_store.SUCCEEDED)
    (tmp_path / 'link').symlink_to(tmp_path / 'one')
    assert run_store.Runs(state, str(tmp_path / 'link')).find('%032x' % 1)
    assert not run_store.Runs(state, str(tmp_path / 'two')).find('%032x' % 1)


def test_a_folder_that_others_may_write_is_refused(
    kept: run_store.Runs, tmp_path: Path
) -> None:
    for mode in (0o720, 0o702):
        os.chmod(kept.folder, mode)
        with pytest.raises(PermissionError) as refused:
            run_store.Runs(str(tmp_path / 'state'), str(tmp_path / 'clone'))
        assert refused.value.filename == kept.folder


def test_what_is_kept_is_for_its_account_alone(kept: run_store.Runs) -> None:
    old = os.umask(0)
    try:
        run = kept.get('%032x' % 1)
        run.save_object(b'{}')
        run.write(run_store.State(run.id, 'blog'))
        run.cancel()
        runlog.Log(run).close()
    finally:
        os.umask(old)
    assert Path(kept.folder).stat().st_mode & 0o777 == 0o700
    assert Path(run.path).stat().st_mode & 0o777 == 0o700
    files = list(Path(run.path).iterdir())
    assert len(files) == 5
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_a_lock_is_held_by_whoever_has_its_descriptor(
    kept: run_store.Runs,
) -> None:
    run = put(kept, 1, run_store.PENDING)
    lock = run.acquire()
    assert lock is not None and run.is_held()
    fifo = run.path + '/go'
    os.mkfifo(fifo)

    def wait() -> None:
        os.close(os.open(fifo, os.O_RDONLY))

    detach.detach(wait, lock)
    os.close(lock)
    assert run.is_held()
    os.close(os.open(fifo, os.O_WRONLY))
    while run.is_held():
        pass


def test_a_log_is_bounded_and_says_what_it_dropped(
    kept: run_store.Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlog, 'LIMIT', 10)
    run = kept.get('%032x' % 1)
    log = runlog.Log(run)
    log.write(b'12345678')
    log.write(b'90x\n')
    log.write(b'y\n')
    log.say('over')
    log.close()
    assert Path(run.log).read_bytes() == (
        b'1234567890\ndelegate-receive: over\n'
        b'delegate-receive: 4 bytes more were printed\n'
    )


def test_a_log_on_a_full_disk_stops_nothing(
    kept: run_store.Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept.get('%032x' % 1)
    monkeypatch.setattr(run, 'open_log', lambda: os.open('/dev/full', 1))
    log = runlog.Log(run)
    log.write(b'lost\n')
    log.say('lost')
    log.close()


def test_a_state_without_a_status_is_no_success() -> None:
    state = run_store.State('x', 'blog', state=run_store.SUCCEEDED)
    assert follow.leave(state) == run_store.EXIT_LOST


def test_the_last_words_of_a_run_are_heard(
    kept: run_store.Runs,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # printed just before the state says that it is over
    run = kept.get('%032x' % 1)
    over = run_store.State(run.id, 'blog', state=run_store.FAILED, status=3)
    log = runlog.Log(run)
    words = [b'last\n']

    def read() -> run_store.State:
        while words:
            log.write(words.pop())
        return over

    monkeypatch.setattr(run, 'read', read)
    monkeypatch.setattr(signal, 'signal', lambda *args: None)
    assert follow.follow(run, 'blog', '1' * 40) == over
    assert capfdbinary.readouterr().out == b'last\n'
    log.close()


def test_another_delegation_is_told_apart() -> None:
    state = run_store.State('x', 'blog', '1' * 40)
    follow.check(state, 'blog', '1' * 40)
    for target, node in (('blog', '2' * 40), ('b', '1' * 40), ('b', None)):
        with pytest.raises(protocol.RequestError):
            follow.check(state, target, node)
    follow.check(run_store.State('x', None), 'blog', '1' * 40)


Run = Callable[..., 'tuple[int, bytes]']


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def to_end(script: str, check: Callable[[], None] = lambda: None):
        told = bytearray()
        path = {'PATH': os.environ['PATH']}
        started = process.Process(['sh', '-c', script], str(tmp_path), path)
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


def test_members_of_a_session_are_found_in_all_its_groups(
    tmp_path: Path,
) -> None:
    path = {'PATH': os.environ['PATH'], 'MARK': 'mine'}
    script = 'timeout 900 sleep 900 & set -m; sleep 900 & echo begun; wait'
    started = process.Process(['bash', '-c', script], str(tmp_path), path)
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
    started = process.Process(['sh', '-c', script], str(tmp_path), path)

    def check() -> None:
        if said and len(members(started.session)) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        started.wait(said.extend, check)
    assert said == b'begun\n'


def test_the_count_goes_on_whatever_is_in_its_file(
    kept: run_store.Runs,
) -> None:
    assert [kept.count() for _ in range(11)] == [*range(1, 12)]
    put(kept, 11, run_store.SUCCEEDED)
    for damage in (b'', b'\0' * 9, b'x', b'11'):
        Path(kept.folder, 'last').write_bytes(damage)
        assert [kept.count(), kept.count()] == [12, 13]
