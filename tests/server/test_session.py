"""Commands run in sessions with OpenSSH's own sshd."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import loopback
import pytest
import sessions

from hgext_delegate.ssh import session


@pytest.mark.parametrize('status', [0, 1, 3, 255])
def test_the_exit_status_is_told(sshd: loopback.Sshd, status: int) -> None:
    end, output = sessions.run(sshd, f'exit {status}')
    assert end == session.End(status, None)
    assert output == []


@pytest.mark.parametrize('name', ['KILL', 'TERM', 'SEGV'])
def test_death_by_a_signal_is_told_apart(
    sshd: loopback.Sshd, name: str
) -> None:
    assert sessions.run(sshd, f'kill -{name} $$')[0] == session.End(None, name)


def test_both_streams_arrive_apart_and_in_order(sshd: loopback.Sshd) -> None:
    end, output = sessions.run(
        sshd, 'echo a; sleep .1; echo b >&2; sleep .1; echo c; sleep .1'
    )
    assert end.status == 0
    assert output == [(1, b'a\n'), (2, b'b\n'), (1, b'c\n')]


def test_a_line_arrives_while_the_command_still_runs(
    sshd: loopback.Sshd, tmp_path: Path
) -> None:
    # It goes on only when its first line has been seen.
    seen = tmp_path / 'seen'
    end, output = sessions.run(
        sshd,
        f'echo first; until test -e {seen}; do sleep .01; done; echo last',
        receive=lambda stream, data: seen.touch(),
    )
    assert end.status == 0
    assert sessions.text(output, 1) == b'first\nlast\n'


def test_standard_input_arrives_whole_and_ends(sshd: loopback.Sshd) -> None:
    data = os.urandom(5_000_000)
    end, output = sessions.run(sshd, 'cat', data)
    assert end.status == 0
    assert sessions.text(output, 1) == data


def test_the_command_arrives_verbatim_in_a_forced_command(
    sshd: loopback.Sshd,
) -> None:
    forced = 'command="printenv SSH_ORIGINAL_COMMAND; printenv | sort >&2"'
    key = loopback.public(sshd.identity)
    sshd.authorize(f'restrict,{forced} {key}')
    try:
        end, output = sessions.run(sshd, 'hg-delegate 1 blog é"$(x)\n\'`;')
    finally:
        sshd.authorize(key)
    assert end.status == 0
    wanted = 'hg-delegate 1 blog é"$(x)\n\'`;\n'
    assert sessions.text(output, 1) == wanted.encode()
    for name in (b'SSH_TTY=', b'SSH_AUTH_SOCK=', b'DISPLAY=', b'LANG='):
        assert name not in sessions.text(output, 2)


def test_much_output_on_both_streams_arrives_whole(sshd: loopback.Sshd) -> None:
    end, output = sessions.run(
        sshd, 'head -c 9000000 /dev/zero & head -c 9000000 /dev/zero >&2; wait'
    )
    assert end.status == 0
    assert (
        sessions.text(output, 1) == sessions.text(output, 2) == bytes(9_000_000)
    )


def test_much_output_before_the_input_is_read_is_no_deadlock(
    sshd: loopback.Sshd,
) -> None:
    end, output = sessions.run(
        sshd, 'head -c 10000000 /dev/zero >&2; cat', bytes(4_000_000)
    )
    assert end.status == 0
    assert len(sessions.text(output, 2)) == 10_000_000
    assert len(sessions.text(output, 1)) == 4_000_000


@pytest.mark.parametrize('command', ['true', 'exec <&-; echo x; exit 3'])
def test_input_that_is_not_read_is_no_failure(
    sshd: loopback.Sshd, command: str
) -> None:
    for size in (0, 10, 3_000_000):
        end, _output = sessions.run(sshd, command, bytes(size))
        assert end.status == (3 if 'exit' in command else 0)


def test_memory_stays_flat_however_much_is_said(sshd: loopback.Sshd) -> None:
    measured = (
        'import resource, sys\n'
        'from hgext_delegate.ssh import session\n'
        'def peak():\n'
        '    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'port, identity, hostkey = sys.argv[1:]\n'
        'with session.open("127.0.0.1", port=int(port), identity=identity,\n'
        '        hostkeys=[hostkey], config_path="none") as opened:\n'
        '    def run(command):\n'
        '        return opened.execute(command, b"", lambda s, d: None,\n'
        '            lambda: None, idle_timeout=60, timeout=600)\n'
        '    assert run("head -c 20000000 /dev/zero").status == 0\n'
        '    before = peak()\n'
        # More than paramiko's limit for one set of keys: it rekeys, too.
        '    assert run("head -c 700000000 /dev/zero").status == 0\n'
        'print(peak() - before)\n'
    )
    grown = subprocess.run(
        [
            *(sys.executable, '-c', measured, str(sshd.port)),
            *(str(sshd.identity), sshd.hostkey()),
        ],
        cwd=Path(session.__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert int(grown) < 8 * 1024  # KiB


def test_the_caller_is_called_back_while_nothing_comes(
    sshd: loopback.Sshd,
) -> None:
    ticks: list[float] = []
    sessions.run(sshd, 'sleep 1.2', tick=lambda: ticks.append(time.monotonic()))
    assert len(ticks) >= 3


def test_the_caller_is_called_back_while_much_comes(
    sshd: loopback.Sshd,
) -> None:
    ticks: list[float] = []
    sessions.run(
        sshd, 'timeout 1.2 yes', tick=lambda: ticks.append(time.monotonic())
    )
    assert len(ticks) >= 3


def test_several_commands_run_one_after_the_other(sshd: loopback.Sshd) -> None:
    seen: sessions.Output = []
    with sessions.connect(sshd) as opened:
        for number in range(3):
            end = opened.execute(
                f'echo {number}; exit {number}',
                b'',
                lambda stream, data: seen.append((stream, data)),
                lambda: None,
                idle_timeout=60,
                timeout=60,
            )
            assert end.status == number
    assert seen == [(1, b'0\n'), (1, b'1\n'), (1, b'2\n')]


def test_an_error_of_the_caller_is_the_callers_own(sshd: loopback.Sshd) -> None:
    def receive(stream: int, data: bytes) -> None:
        raise OSError(28, 'no space left on device')

    with pytest.raises(OSError, match='no space'):
        sessions.run(sshd, 'echo x; sleep 60', receive=receive)


def test_a_connection_lost_midway_is_no_success(sshd: loopback.Sshd) -> None:
    error = sessions.failure(
        sshd, 'echo x; sleep 60', receive=lambda *args: sshd.cut()
    )
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'connection to {where} lost midway'
    assert error.started


def test_a_server_process_killed_midway_is_no_success(
    sshd: loopback.Sshd,
) -> None:
    error = sessions.failure(sshd, 'echo x; kill -9 $PPID; sleep 60')
    assert 'lost midway' in error.reason
    assert error.started


def test_silence_has_a_limit(sshd: loopback.Sshd) -> None:
    error = sessions.failure(sshd, 'echo x; sleep 60', idle_timeout=1)
    assert isinstance(error, session.Expired)
    assert error.reason == 'no output for 1 s'
    assert error.started


def test_output_without_end_has_a_limit(sshd: loopback.Sshd) -> None:
    error = sessions.failure(
        sshd, 'while :; do echo x; sleep .1; done', timeout=1, idle_timeout=60
    )
    assert isinstance(error, session.Expired)
    assert error.reason == 'not finished after 1 s'
    assert error.started


def test_output_puts_off_the_limit_of_silence(sshd: loopback.Sshd) -> None:
    end, _output = sessions.run(
        sshd,
        'for i in 1 2 3 4 5 6 7 8 9; do sleep .25; echo $i; done',
        idle_timeout=1.5,
    )
    assert end.status == 0


def test_a_child_that_keeps_the_output_open_is_waited_for(
    sshd: loopback.Sshd,
) -> None:
    end, output = sessions.run(
        sshd, '(sleep 1; echo late) & echo early; exit 3'
    )
    assert end.status == 3
    assert sessions.text(output, 1) == b'early\nlate\n'


def test_a_child_that_keeps_the_output_open_has_a_limit(
    sshd: loopback.Sshd,
) -> None:
    error = sessions.failure(sshd, 'sleep 60 & exit 0', idle_timeout=1)
    assert error.reason == 'no output for 1 s'
    assert 'keeps its output' in error.remedy
    assert error.started


def test_another_thread_can_cancel(sshd: loopback.Sshd) -> None:
    with sessions.connect(sshd) as opened:
        canceller = threading.Thread(target=opened.cancel)
        with pytest.raises(session.SessionError) as caught:
            opened.execute(
                'echo x; sleep 60',
                b'',
                lambda stream, data: canceller.start(),
                lambda: None,
                idle_timeout=60,
                timeout=60,
            )
        canceller.join()
    assert caught.value.reason == 'cancelled'
    assert caught.value.started
    assert not isinstance(caught.value, session.Expired)


def test_the_callback_can_cancel_too(sshd: loopback.Sshd) -> None:
    opened = sessions.connect(sshd)
    with opened, pytest.raises(session.SessionError) as caught:
        opened.execute(
            'sleep 60',
            b'',
            lambda stream, data: None,
            opened.cancel,
            idle_timeout=60,
            timeout=60,
        )
    assert caught.value.reason == 'cancelled'


def test_a_closed_session_can_be_closed_again(sshd: loopback.Sshd) -> None:
    opened = sessions.connect(sshd)
    opened.close()
    opened.close()


def test_a_closed_session_runs_nothing(sshd: loopback.Sshd) -> None:
    opened = sessions.connect(sshd)
    opened.close()
    with pytest.raises(session.SessionError) as caught:
        opened.execute(
            *('true', b'', print, print), idle_timeout=60, timeout=60
        )
    assert not caught.value.started


def test_a_lost_connection_is_no_start(sshd: loopback.Sshd) -> None:
    with sessions.connect(sshd) as opened:
        sshd.cut()
        with pytest.raises(session.SessionError) as caught:
            opened.execute(
                *('true', b'', print, print), idle_timeout=60, timeout=60
            )
    assert 'opening a session on' in caught.value.reason
    assert not caught.value.started


def test_a_session_that_is_refused_is_no_start(sshd: loopback.Sshd) -> None:
    sshd.settings = 'MaxSessions 0\n'
    error = sessions.failure(sshd, 'true')
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'session refused by {where}'
    assert not error.started


@pytest.mark.parametrize('command', ['a\0b', 'x' * 200_000])
def test_a_command_that_sshd_cannot_run_is_not_sent(
    sshd: loopback.Sshd, command: str
) -> None:
    error = sessions.failure(sshd, command)
    assert error.reason == 'the command has a NUL or is too long'
    assert not error.started


def test_a_process_that_ends_with_a_session_open_says_nothing(
    sshd: loopback.Sshd,
) -> None:
    code = (
        'import sys\n'
        'from hgext_delegate.ssh import session\n'
        'port, identity, hostkey = sys.argv[1:]\n'
        'opened = session.open("127.0.0.1", port=int(port),\n'
        '    identity=identity, hostkeys=[hostkey], config_path="none")\n'
        'opened.prepare()\n'
        'print(opened.is_ready())\n'
    )
    done = subprocess.run(
        [
            *(sys.executable, '-c', code, str(sshd.port)),
            *(str(sshd.identity), sshd.hostkey()),
        ],
        cwd=Path(session.__file__).parents[2],
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b'True\n', b'')


def test_importing_does_not_import_what_is_not_needed() -> None:
    code = (
        'import hgext_delegate.ssh.session, sys; print("invoke" in sys.modules)'
    )
    said = subprocess.check_output(
        [sys.executable, '-c', code], cwd=Path(session.__file__).parents[2]
    )
    assert said == b'False\n'
