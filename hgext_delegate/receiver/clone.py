# SPDX-License-Identifier: GPL-2.0-or-later
'''the receiver's own clone, brought to a changeset

A working copy that has changes is left as it is, and so is a folder that is
not ours. All this runs in a child of the supervisor, for it may hang, and can
be ended then; it is Mercurial's own commands, without the start of a program.
'''

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from mercurial import dispatch, encoding

from .. import errors

try:
    from mercurial.main_script import request
except ImportError:  # hg <= 7.1
    from mercurial.dispatch import request

# Names the source of a clone that is ours.
MARK = 'delegate-source'
# There while we update: a working copy that was clean is being changed.
_UPDATING = 'delegate-updating'
_NEW = '.hg-delegate-new'

_SHOWN = 10
# in what hg says of an update
_UNTRACKED = re.compile(
    rb'^(.+): untracked (?:file|directory) (?:differs|conflicts)', re.MULTILINE
)


class UnpreparedError(errors.DelegateError):
    '''the clone is not at the changeset'''


@dataclasses.dataclass(frozen=True)
class Clone:
    '''the clone in the folder ``path``, which pulls from ``source``

    ``name`` is the source without a password. ``config`` are options for
    each hg, which runs with ``environ``.
    '''

    path: str
    source: str
    name: str
    config: Sequence[str]
    environ: Mapping[str, str]

    def bring(self, node: str, environ: Mapping[str, str]) -> None:
        '''bring it to ``node`` (40 hex digits), made and pulled if need be

        For a process that does nothing else: its environment becomes that of
        the clone with ``environ``. Raises UnpreparedError.
        '''
        self._enter(environ)
        try:
            self._make()
            self._check_source()
            self._pull()
            self._update(node)
        except OSError as exc:
            raise UnpreparedError(
                'cannot use the clone: %s' % exc.strerror,
                'see %s' % (exc.filename or self.path),
            ) from None

    def load(self, is_waiting: Callable[[], bool]) -> None:
        '''load what bring() needs, for a process that waits for its node

        Only while ``is_waiting()``. It reads the clone, if there is one of
        ours, and takes no lock.
        '''
        self._enter({})
        command = ['log', '-r', '.', '-T', '']
        if os.path.isdir(self.source):
            # at another host it would be a login
            command = ['incoming', '--', self.source]
        # whatever fails here fails once more in bring(), which says so
        with contextlib.suppress(Exception):
            if os.stat(self._join('')).st_uid == os.geteuid() and is_waiting():
                self._in(*command, out=io.BytesIO())

    def _enter(self, environ: Mapping[str, str]) -> None:
        os.environ.clear()
        os.environ.update({**self.environ, **environ})
        encoding.encoding = b'UTF-8'

    def _join(self, name: str) -> str:
        return os.path.join(self.path, '.hg', name)

    def _hg(self, *args: str, out: BinaryIO | None = None) -> int:
        words = ['-q', *self.config, *args]
        asked = request(list(map(os.fsencode, words)), fout=out, ferr=out)
        return dispatch.dispatch(asked)

    def _in(self, *args: str, out: BinaryIO | None = None) -> int:
        # from there largefiles and lfs get what is not in the changesets
        default = 'paths.default=%s' % self.source
        return self._hg('-R', self.path, '--config', default, *args, out=out)

    def _make(self) -> None:
        '''make it where nothing is; it is there whole, or not at all'''
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)
        new = os.path.join(self.path, _NEW)
        if os.path.lexists(self._join('')):
            if os.path.isdir(new):
                os.rmdir(new)
            return
        if set(os.listdir(self.path)) - {_NEW}:
            raise UnpreparedError(
                '%s is not empty, and no clone' % self.path,
                'name an empty or new folder with --clone',
            )
        shutil.rmtree(new, ignore_errors=True)
        if self._hg('init', '--', new):
            raise UnpreparedError('cannot make the clone %s' % self.path)
        # 0600: there may be a password in it
        mark = os.path.join(new, '.hg', MARK)
        fd = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, 'wb') as file:
            file.write(os.fsencode(self.source) + b'\n')
        os.rename(os.path.join(new, '.hg'), os.path.join(self.path, '.hg'))
        os.rmdir(new)

    def _check_source(self) -> None:
        if os.stat(self._join('')).st_uid != os.geteuid():
            raise UnpreparedError(
                '%s belongs to another account' % self.path,
                'name a folder of this account with --clone',
            )
        try:
            with open(self._join(MARK), 'rb') as file:
                source = os.fsdecode(file.read().rstrip(b'\n'))
        except FileNotFoundError:
            raise UnpreparedError(
                '%s is not a clone that hg delegate-receive made' % self.path,
                'move it away, or name another folder with --clone',
            ) from None
        if source != self.source:
            raise UnpreparedError(
                '%s is a clone of another source' % self.path,
                'use another --clone, or write the new place of that one '
                'into %s' % self._join(MARK),
            )

    def _pull(self) -> None:
        # hg leaves this to a person, since the process that began might still
        # be at work. Here none is: we hold the lock of the clone.
        if os.path.exists(self._join('store/journal')):
            self._in('recover')
        if self._in('pull', '--', self.source):
            raise UnpreparedError(
                'cannot pull from %s' % self.name,
                'try it as this account: hg -R %s pull %s'
                % (self.path, self.name),
            )

    def _update(self, node: str) -> None:
        mark = self._join(_UPDATING)
        how = '--check'
        if os.path.exists(mark) and self._is_halfway():
            _say('the last update was interrupted: what it left is replaced')
            how = '--clean'
        with open(mark, 'w'):
            pass
        said = io.BytesIO()
        # As a revset: a bookmark or tag may have 40 digits, too.
        revision = 'id(%s)' % node
        status = self._in('update', how, '-r', revision, out=said)
        if not self._is_halfway():
            os.unlink(mark)
        if status:
            self._explain(node, said.getvalue())
            _say(said.getvalue().decode('utf-8', 'replace').rstrip('\n'))
            raise UnpreparedError('cannot update to %s' % node)

    def _is_halfway(self) -> bool:
        '''whether an update has begun and not ended; a file of Mercurial's'''
        return os.path.exists(self._join('updatestate'))

    def _explain(self, node: str, said: bytes) -> None:
        '''raise the reason why there was no update, if it is a known one'''
        found = io.BytesIO()
        self._in('log', '-r', 'id(%s)' % node, '-T', '{node}', out=found)
        if found.getvalue() != node.encode('ascii'):
            raise UnpreparedError(
                '%s is not in %s' % (node, self.name),
                'either --source is another repository, or it is secret or '
                'stripped',
            )
        changed = io.BytesIO()
        self._in('status', '-mardn0', out=changed)
        names = changed.getvalue().split(b'\0')[:-1]
        if names:
            raise UnpreparedError(
                'the clone has changes that nobody committed: %s'
                % _shown(names),
                'save what matters, then as this account: '
                'hg -R %s update --clean .' % self.path,
            )

        in_the_way = _UNTRACKED.findall(said)
        if in_the_way:
            raise UnpreparedError(
                'untracked files are where the changeset has its own: %s'
                % _shown(in_the_way),
                'move them away, they are in %s' % self.path,
            )


def _shown(names: Sequence[bytes]) -> str:
    shown = [ascii(os.fsdecode(name)) for name in names[:_SHOWN]]
    return ', '.join(shown + ['...'] * (len(names) > _SHOWN))


def _say(text: str) -> None:
    lines = ['delegate-receive: %s\n' % line for line in text.split('\n')]
    os.write(1, ''.join(lines).encode('utf-8', 'replace'))
