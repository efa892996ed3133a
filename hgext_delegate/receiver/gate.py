# SPDX-License-Identifier: GPL-2.0-or-later
'''a gate: a push that is not accepted yet is laid out, and checked

All of it belongs to the session that asks, and ends with it. The clone never
gets what is pushed: its changesets are laid over it from a bundle, checked out
into a folder of their own, and removed with that, whatever happens.
'''

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

from .. import protocol
from . import (
    child,
    clone as clonemod,
    environment,
    mask,
    process,
    run,
    script as scriptmod,
    supervisor,
)

# a bundle without a part: what moves is in the source already
_EMPTY = b'HG20' + bytes(8)
_CHUNK = 1 << 16
_PAUSE = 0.05


@dataclasses.dataclass(frozen=True)
class Overlay(clonemod.Clone):
    '''a clone, and a bundle that is laid over it, to be laid out in ``tree``'''

    bundle: str = ''
    tree: str = ''

    @property
    def repository(self) -> str:
        '''both together, for hg -R'''
        return (
            'bundle:%s+%s' % (self.path, self.bundle)
            if self.bundle
            else (self.path)
        )

    def _update(self, node: str) -> None:
        if '+' in self.path:
            # hg takes what follows it for the bundle
            raise clonemod.UnpreparedError(
                'the path of the clone has a +: %s' % self.path,
                'name another folder with --clone',
            )
        revision = 'id(%s)' % node
        # the last -R counts
        words = [
            'archive',
            '-R',
            self.repository,
            '--hidden',
            '--type',
            'files',
            '-r',
            revision,
        ]
        words += ['--config', 'ui.archivemeta=no', '--', self.tree]
        status, said = self._run(*words)
        if status:
            raise clonemod.UnpreparedError(
                'cannot lay out %s: %s' % (node, _shown(said)),
                'is all that it is based on in %s?' % self.name,
            )


class Ended(Exception):
    '''the session is over: nobody listens, or a signal has come'''


class Gate:
    '''answers one request; ``folder`` keeps nothing beyond that'''

    def __init__(self, folder: str, work: supervisor.Work):
        self._work = work
        self._state = folder
        self._folder = os.path.join(
            run.folder_of(work.clone.path, folder), 'gate'
        )
        self._told = False
        self._limit = time.monotonic() + work.timeout
        self._channel = select.poll()
        self._channel.register(1, 0)

    def answer(self, request: protocol.Request) -> int:
        '''the exit status of the script. Raises RequestError, OSError, Ended,
        EndedError'''
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._end)
        os.makedirs(self._folder, 0o700, exist_ok=True)
        with self._turn(), self._fresh() as place:
            data = self._receive(os.path.join(place, 'bundle'))
            deploy = protocol.parse_deploy(data, request)
            overlay = self._overlay(place)
            try:
                child.prepare(
                    lambda: overlay.bring(deploy.node, {}),
                    'lay out %s' % deploy.node,
                    _write,
                    self._check,
                )
            except clonemod.UnpreparedError as exc:
                raise supervisor.EndedError(
                    run.EXIT_UNPREPARED, exc.reason, exc.remedy
                ) from None
            path = os.path.join(place, 'object')
            with open(path, 'wb') as file:
                file.write(data)
            told = environment.variables(deploy, path)
            told['DELEGATE_REPOSITORY'] = overlay.repository
            told['DELEGATE_NEW'] = 'bundle()' if overlay.bundle else 'none()'
            return self._run(overlay.tree, told)

    def _end(self, number: int, frame: object) -> None:
        self._told = True

    def _check(self) -> None:
        if self._told or self._channel.poll(0):
            raise Ended
        if time.monotonic() > self._limit:
            raise supervisor.EndedError(
                run.EXIT_TIMEOUT, 'not finished after %g s' % self._work.timeout
            )

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        '''the clone is used by one at a time'''
        runs = run.Runs(self._state, self._work.clone.path)
        with contextlib.closing(runs):
            while (lock := runs.acquire_clone()) is None:
                self._check()
                time.sleep(_PAUSE)
        try:
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[str]:
        '''a folder that is gone afterwards; what one that was killed has left
        goes first, since who has the clone is alone here'''
        for name in os.listdir(self._folder):
            _remove(os.path.join(self._folder, name))
        place = tempfile.mkdtemp(dir=self._folder)
        try:
            yield place
        finally:
            _remove(place)

    def _receive(self, path: str) -> bytes:
        '''the object; the bundle after it goes into the file ``path``'''
        data = b''
        while b'\n' not in data:
            more = self._read()
            data += more
            if not more or len(data) > protocol.MAX_BYTES:
                raise protocol.RequestError('no line with an object has come')
        data, _newline, rest = data.partition(b'\n')
        with open(path, 'wb') as file:
            file.write(rest)
            while rest := self._read():
                file.write(rest)
        return data + b'\n'

    def _read(self) -> bytes:
        while not select.select([0], [], [], _PAUSE)[0]:
            self._check()
        self._check()
        return os.read(0, _CHUNK)

    def _overlay(self, place: str) -> Overlay:
        bundle = os.path.join(place, 'bundle')
        with open(bundle, 'rb') as file:
            is_empty = file.read(len(_EMPTY) + 1) == _EMPTY
        known = dataclasses.fields(clonemod.Clone)
        values = {f.name: getattr(self._work.clone, f.name) for f in known}
        return Overlay(
            **values,
            bundle='' if is_empty else bundle,
            tree=os.path.join(place, 'tree'),
        )

    def _run(self, tree: str, told: dict[str, str]) -> int:
        environ = environment.whole({**self._work.environ, **told})
        work = self._work
        try:
            script = scriptmod.start(
                work.script,
                tree,
                environ,
                work.box,
                told['DELEGATE_JSON'],
                work.clone.path,
            )
        except scriptmod.StartError as exc:
            raise supervisor.EndedError(
                exc.status, exc.reason, exc.remedy
            ) from None
        masked = mask.Mask(self._work.environ, _write)
        try:
            status = script.wait(masked.feed, self._check)
        finally:
            masked.close()
            # nothing of it goes on
            script.end(lambda: time.sleep(_PAUSE))
            script.close()
        if script.is_kept_open and not status:
            raise supervisor.EndedError(
                run.EXIT_TIMEOUT,
                'something that it has left running keeps its output open',
                'what that has to say may be a no',
            )
        if status < 0:
            name = process.signal_name(-status)
            raise supervisor.EndedError(
                128 - status, 'killed by signal %s' % name
            )
        return status


def _write(data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(1, data) :]


def _shown(said: bytes) -> str:
    '''the last line that hg has said'''
    lines = said.decode('utf-8', 'replace').strip().splitlines() or ['']
    return ascii(lines[-1][:200])


def _remove(path: str) -> None:
    '''remove ``path``, whatever modes a script has given to what is in it

    And however deep that is, which Python's own walks do not take.
    '''
    for command in (['chmod', '-R', 'u+rwx'], ['rm', '-rf']):
        subprocess.run([*command, '--', path], stderr=subprocess.DEVNULL)
