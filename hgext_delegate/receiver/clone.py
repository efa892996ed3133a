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
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from mercurial import encoding

from .. import errors
from . import clone_folder, failure, hg_command

# Names the source of a clone that is ours.
MARK = 'delegate-source'
# The changeset that we have updated to.
_NODE = 'delegate-node'
# There while we update: a working copy that was clean is being changed.
_UPDATING = 'delegate-updating'
_NEW = '.hg-delegate-new'
# How long a lock of Mercurial's is waited for, in seconds. No delegation has
# one: we hold the lock of the clone.
_LOCK_WAIT = 15
# No clean; without what is untracked; also without what is ignored.
KEEP, CLEAN, CLEAN_IGNORED = 'keep', 'clean', 'ignored'


class UnpreparedError(errors.DelegateError):
    '''the clone is not at the changeset'''


@dataclasses.dataclass(frozen=True)
class Clone:
    '''the clone in the folder ``path``, which pulls from ``source``

    ``name`` is the source without a password. ``config`` are options for
    each hg, which runs with ``environ``. ``clean`` is one of the above. The
    account's own hgrc names the files of patterns ``ignores``. What runs in
    the clone ``is_boxed``.
    '''

    path: str
    source: str
    name: str
    config: Sequence[str]
    environ: Mapping[str, str]
    clean: str = KEEP
    ignores: Sequence[bytes] = ()
    is_boxed: bool = False

    def bring(self, node: str, environ: Mapping[str, str]) -> None:
        '''bring it to ``node`` (40 hex digits), made and pulled if need be

        For a process that does nothing else: its environment becomes that of
        the clone with ``environ``. Raises UnpreparedError.
        '''
        self.enter(environ)
        try:
            self._make()
            if self.is_boxed and (why := clone_folder.trouble(self.path)):
                raise UnpreparedError(*why)
            self.check_source()
            clone_folder.name_default(self._join('hgrc'), self.source)
            self._pull()
            self._update(node)
        except OSError as exc:
            known = failure.of_update(str(exc).encode(), self.path, self.name)
            if known:
                raise UnpreparedError(*known) from None
            raise UnpreparedError(
                'cannot use the clone: %s' % exc.strerror,
                'see %s' % (exc.filename or self.path),
            ) from None

    def load(self, is_waiting: Callable[[], bool]) -> None:
        '''load what bring() needs, for a process that waits for its node

        Only while ``is_waiting()``. It reads the clone, if there is one of
        ours, and takes no lock.
        '''
        self.enter({})
        command = ['log', '-r', '.', '-T', '']
        if os.path.isdir(self.source):
            # at another host it would be a login
            command = ['incoming', '--', self.source]
        # whatever fails here fails once more in bring(), which says so
        with contextlib.suppress(Exception):
            if os.stat(self._join('')).st_uid == os.geteuid() and is_waiting():
                self._ask(*command)

    def enter(self, environ: Mapping[str, str]) -> None:
        '''make this process one that does nothing but what the clone needs'''
        os.environ.clear()
        os.environ.update({**self.environ, **environ})
        encoding.encoding = b'UTF-8'
        clone_folder.read_patterns_inside(self.path, self.ignores)

    def _join(self, name: str) -> str:
        return os.path.join(self.path, '.hg', name)

    def _hg(self, *args: str, out: BinaryIO, error: BinaryIO) -> int:
        return hg_command.run(['-q', *self.config, *args], out, error)

    def _ask(self, *args: str) -> bytes:
        '''what hg answers; nothing if it fails'''
        out = io.BytesIO()
        self._hg(
            '--hidden', '-R', self.path, *args, out=out, error=io.BytesIO()
        )
        return out.getvalue()

    def _run(self, *args: str) -> tuple[int, bytes]:
        '''the exit status of hg in the clone, and all that it printed'''
        # from there largefiles and lfs get what is not in the changesets
        default = 'paths.default=%s' % self.source
        wait = 'ui.timeout=%d' % _LOCK_WAIT
        more = ['-R', self.path, '--config', default, '--config', wait]
        with hg_command.output() as out:
            try:
                status = self._hg(*more, *args, out=out, error=out)
            except Exception:  # noqa: BLE001
                # hg has printed the traceback, which says what it was
                status = 255
            out.flush()
            out.seek(0)
            return status, out.read()

    def _make(self) -> None:
        '''make it where nothing is; it is there whole, or not at all'''
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path, 0o755)
        new = os.path.join(self.path, _NEW)
        if os.path.lexists(self._join('')):
            if os.path.isdir(new):
                os.rmdir(new)
            return
        self.check_empty()
        shutil.rmtree(new, ignore_errors=True)
        said = io.BytesIO()
        if self._hg('init', '--', new, out=said, error=said):
            known = failure.of_update(said.getvalue(), self.path, self.name)
            if known:
                raise UnpreparedError(*known)
            raise UnpreparedError('cannot make the clone %s' % self.path)
        # 0600: there may be a password in it
        mark = os.path.join(new, '.hg', MARK)
        fd = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, 'wb') as file:
            file.write(os.fsencode(self.source) + b'\n')
        os.rename(os.path.join(new, '.hg'), os.path.join(self.path, '.hg'))
        os.rmdir(new)

    def check_empty(self) -> None:
        '''raise UnpreparedError where no clone can be made'''
        if set(os.listdir(self.path)) - {_NEW}:
            raise UnpreparedError(
                '%s is not empty, and no clone' % self.path,
                'move it away, or name a new folder with --clone',
            )

    def check_source(self) -> None:
        '''raise UnpreparedError for a clone that is not ours'''
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
                'move it away, use another --clone, or write its new place '
                'into %s' % self._join(MARK),
            )

    def _pull(self) -> None:
        for name in ('wlock', 'store/lock'):
            path = self._join(name)
            holder = hg_command.break_foreign_lock(path, _LOCK_WAIT)
            if holder:
                _say('a lock that %s has left is removed' % ascii(holder))
        # hg leaves this to a person, since the process that began might still
        # be at work. Here none is: we hold the lock of the clone.
        if os.path.exists(self._join('store/journal')):
            self._run('recover')
        status, said = self._run('pull', '--', self.source)
        if status:
            why = failure.of_pull(said, self.path, self.name)
            raise UnpreparedError(*why)

    def _update(self, node: str) -> None:
        mark = self._join(_UPDATING)
        how = '--check' if self.clean == KEEP else '--clean'
        if os.path.exists(mark) and self._is_halfway():
            _say('the last update was interrupted: what it left is replaced')
            how = '--clean'
        left = self._commits() if self.clean == KEEP else []
        with open(mark, 'w'):
            pass
        # It may fail by an .hgignore that this changeset corrects.
        self._purge()
        # As a revset: a bookmark or tag may have 40 digits, too. Hidden: what
        # was amended or pruned since can be asked for as well.
        revision = 'id(%s)' % node
        # or a folder in the way is found only when half is done
        check = 'experimental.merge.checkpathconflicts=yes'
        status, said = self._run(
            *('update', '--hidden', how, '-r', revision, '--config', check)
        )
        if not self._is_halfway():
            os.unlink(mark)
        if status:
            self._explain(node, said)
        if why := self._purge():
            known = failure.of_update(why, self.path, self.name)
            by_hand = 'see it as this account: hg -R %s purge --print'
            raise UnpreparedError(
                *(known or ('cannot clean the clone', by_hand % self.path))
            )
        with open(self._join(_NODE), 'w') as file:
            file.write(node)
        for commit in left:
            _say(
                'a commit made in the clone is left behind: %s' % commit[:12],
                'it is kept: hg -R %s export %s' % (self.path, commit[:12]),
            )

    def _commits(self) -> list[str]:
        '''those which somebody made in the clone, and its source has not'''
        try:
            with open(self._join(_NODE)) as file:
                last = file.read()
            written = os.stat(self._join(_NODE)).st_mtime_ns
            if os.stat(self._join('dirstate')).st_mtime_ns < written:
                # as the last update has left it
                return []
        except FileNotFoundError:
            return []
        here = self._ask('log', '-r', '.', '-T', '{node}').decode('ascii')
        if here == last:
            return []
        only = 'only(%s, id(%s)) and draft()' % (here, last)
        mine = self._ask('log', '-r', only, '-T', '{node}\n').decode('ascii')
        # a source that does not publish has drafts, too
        asked = ('outgoing', '-T', '{node}\n', '--', self.source)
        missing = self._ask(*asked).decode('ascii').split()
        return [commit for commit in mine.split() if commit in missing]

    def _purge(self) -> bytes:
        '''as --clean says: before the update, for what is in the way, and
        after it, by the ``.hgignore`` of the changeset; what hg says if it
        fails'''
        if self.clean == KEEP:
            return b''
        command = ['purge', '--no-confirm', '--abort-on-err']
        if self.clean == CLEAN_IGNORED:
            command.append('--all')
        status, said = self._run(*command)
        if status and b'Permission denied' in said:
            # whatever modes a script has given to its folders
            clone_folder.open_up(self.path)
            status, said = self._run(*command)
        return said if status else b''

    def _is_halfway(self) -> bool:
        '''whether an update has begun and not ended; a file of Mercurial's'''
        return os.path.exists(self._join('updatestate'))

    def _explain(self, node: str, said: bytes) -> None:
        '''raise the reason why there was no update'''
        if self._ask('log', '-r', 'id(%s)' % node, '-T', '{node}') != (
            node.encode('ascii')
        ):
            raise UnpreparedError(
                '%s is not in %s' % (node, self.name),
                'another --source, or it is secret, stripped or amended',
            )
        names = self._ask('status', '-mardn0').split(b'\0')[:-1]
        if names and self.clean == KEEP and not self._is_halfway():
            raise UnpreparedError(
                'the clone has changes that nobody committed: %s'
                % failure.shown(names),
                'save what matters, then as this account: '
                'hg -R %s update --clean .' % self.path,
            )
        known = failure.of_update(said, self.path, self.name)
        raise UnpreparedError(
            *known
            or (
                'cannot update to %s' % node,
                'try it as this account: hg -R %s update %s'
                % (self.path, node[:12]),
            )
        )


def _say(text: str, remedy: str = '') -> None:
    line = 'delegate-receive: %s\n' % text
    if remedy:
        line += '(%s)\n' % remedy
    os.write(1, line.encode('utf-8', 'replace'))
