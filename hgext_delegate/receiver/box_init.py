# SPDX-License-Identifier: GPL-2.0-or-later
'''process 1 of a box: starts the script, and says how that ended

    python box_init.py CONTROL OUTPUT PROGRAM [ARGUMENT]...

CONTROL is a socket. To it goes ``E`` with an errno where PROGRAM cannot be
run, or ``R`` once it runs, and then ``S`` with its wait status. From it comes
``T``: TERM is to go to all processes of the box. Its end is the end of all.
bubblewrap's own process 1 makes an exit status of a signal, and hands no
signal on.
'''

import contextlib
import os
import select
import signal
import sys
import time

# What has just closed its output may take this long to end, in seconds.
MOMENT = 0.1


def main():
    control, output = int(sys.argv[1]), int(sys.argv[2])
    # The others lead out of the box.
    low, high = sorted((control, output))
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, os.sysconf('SC_OPEN_MAX'))
    for fd in (control, output):
        os.set_inheritable(fd, False)
    woken, wake = os.pipe()
    for fd in (woken, wake):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    script = start(control, output, sys.argv[3:])
    os.close(output)
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        if control in ready:
            if not os.read(control, 1):
                # 3: something was left
                os._exit(0 if reap(control, script, MOMENT) else 3)
            for number in (signal.SIGTERM, signal.SIGCONT):
                with contextlib.suppress(OSError):
                    os.kill(-1, number)
        if reap(control, script):
            os._exit(0)


def start(control, output, argv):
    '''start the script; its pid'''
    failed, failing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            for standard in (1, 2):
                os.dup2(output, standard)
            signal.set_wakeup_fd(-1)
            # Python ignores these two, and a program inherits that
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(argv[0], argv, os.environ)
        except OSError as exc:
            os.write(failing, b'E%d\n' % (exc.errno or 0))
        os._exit(127)
    os.close(failing)
    os.write(control, os.read(failed, 64) or b'R\n')
    os.close(failed)
    return child


def reap(control, script, patience=0.0):
    '''whether no process is left, after ``patience`` seconds'''
    give_up = time.monotonic() + patience
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == script:
            with contextlib.suppress(OSError):
                os.write(control, b'S%d\n' % status)
        elif pid == 0:
            if time.monotonic() >= give_up:
                return False
            time.sleep(0.005)


if __name__ == '__main__':
    main()
