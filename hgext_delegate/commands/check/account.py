# SPDX-License-Identifier: GPL-2.0-or-later
'''whether the deploy account, on the server's own machine, is kept out

It must be another account, read no private key of the server account, and
write nothing that decides what the server account does.
'''

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence

from mercurial import util
from mercurial.i18n import _

from ... import imports
from ...config import targets
from ...report import wording
from ..setup import private
from . import finding, rights

# What a pull reads of a store: not what our outbox or a transaction has there.
_PULLED = re.compile('(?!delegate|journal|undo|lock)').match
# shells that run no command, or only commands of their own
_NO_SHELLS = ('nologin', 'false', 'true', 'sync', 'git-shell')


def check(
    ui, repo, target: targets.Target, user: str, keys: Sequence[str]
) -> Iterator[finding.Finding]:
    '''what is wrong with the account ``user`` of this machine

    ``keys`` are the private key files of the server account.
    '''
    about = finding.of(target.name, b'account')
    name = wording.text(user)
    who = rights.account(user)
    if who is None:
        yield about.warning(
            _(b'%s is not an account of this machine') % name,
            _(b'if sshd runs in a container, make sure it is not root there'),
        )
    elif who.uid == 0:
        make = about.warning if target.allow_root else about.error
        yield make(_(b'%s is root') % name, _another(about))
    elif who.uid == os.geteuid():
        line = _(b'%s is the server account itself')
        yield about.error(line % name, _another(about))
    else:
        yield from _unusable(about, who)
        read = _(b'%s may read the private key %s')
        write = _(b'%s may write %s')
        holes = [
            *_holes(about, who, keys, rights.READ, read),
            *_holes(about, who, protected(ui, repo), rights.WRITE, write),
        ]
        yield from holes
        if not holes:
            line = _(
                b'%s reads no key and writes nothing of the server account'
            )
            yield about.ok(line % name)


def _another(about: finding.About) -> bytes:
    line = _(
        b"useradd -ms /bin/sh -p '*' hg-%s; and %s = ssh://hg-%s@localhost"
    )
    return line % ((about.target,) * 3)


def _unusable(
    about: finding.About, who: rights.Account
) -> Iterator[finding.Finding]:
    '''what keeps sshd from running a forced command there'''
    name = wording.text(who.name)
    idle = os.path.basename(who.shell) in _NO_SHELLS
    if idle or not shutil.which(who.shell):
        line = _(b'the shell of %s, %s, runs no command')
        line %= name, os.fsencode(who.shell)
        yield about.error(line, _(b'chsh -s /bin/sh %s') % name)
    if not os.path.isdir(who.home):
        yield about.error(
            _(b'the home of %s, %s, is not there')
            % (name, os.fsencode(who.home)),
            _(b'as root: install -d -o %s %s') % (name, os.fsencode(who.home)),
        )


def _holes(
    about: finding.About,
    who: rights.Account,
    paths: Iterable[str],
    want: int,
    line: bytes,
) -> Iterator[finding.Finding]:
    '''``line`` for each of ``paths`` with which ``who`` may do ``want``'''
    holes = [rights.hole(who, path, want) for path in dict.fromkeys(paths)]
    for hole in dict.fromkeys(filter(None, holes)):
        message = line % (wording.text(who.name), os.fsencode(hole))
        yield about.error(message, _remedy(who, hole, want))


def unreadable(
    repo, target: targets.Target, user: str
) -> Iterator[finding.Finding]:
    '''what keeps the account ``user`` of this machine from pulling'''
    about = finding.of(target.name, b'account')
    who = rights.account(user)
    if who is None:
        return
    store = os.fsdecode(repo.svfs.join(b'')).rstrip('/')
    paths = [os.fsdecode(repo.path), os.fsdecode(repo.vfs.join(b'requires'))]
    paths.append(store)
    paths += [each.path for each in os.scandir(store) if _PULLED(each.name)]
    found = (bar for path in paths for bar in rights.obstacles(who, path))
    # one command for all of the store, whose files are many
    within = re.compile(re.escape(store) + '(/.*)?')
    bars = dict.fromkeys(store if within.match(bar) else bar for bar in found)
    for bar in bars:
        whose = 'g' if os.stat(bar).st_gid in who.groups else 'o'
        # a folder on the way is to be passed only
        how = (
            '-R %s+rX' if bar == store else '%s+rX' if bar in paths else '%s+x'
        )
        line = _(b'%s cannot pull from the repository: it has no right to %s')
        line %= wording.text(user), os.fsencode(bar)
        remedy = b'chmod %s %s' % (os.fsencode(how % whose), os.fsencode(bar))
        yield about.error(line, remedy)


def protected(ui, repo) -> Iterator[str]:
    '''what decides what the server account does, or is the repository

    The entries of each folder count too, but no deeper ones: that would take
    too long in a large repository.
    '''
    (extension,) = imports.extension().__path__
    for folder in (
        *map(os.fsdecode, (repo.path, repo.sharedpath, repo.svfs.join(b''))),
        os.path.expanduser('~/.ssh'),
        private.place(),
        *(folder for folder, _folders, _files in os.walk(extension)),
    ):
        yield folder
        with contextlib.suppress(OSError):
            yield from (entry.path for entry in os.scandir(folder))
    for section, name, _value in ui.walkconfig():
        source = ui.configsource(section, name)
        match = re.match(rb'(/.*):[0-9]+\Z', source)
        if match:
            yield os.fsdecode(match[1])


def _remedy(who: rights.Account, hole: str, want: int) -> bytes:
    '''how to take from ``who`` the right that it has to ``hole``'''
    path = os.fsencode(hole)
    status = os.stat(hole)
    letter = b'r' if want == rights.READ else b'w'
    if who.uid == status.st_uid:
        owner = util.username(os.geteuid())
        return _(b'it owns it: chown %s %s') % (owner, path)
    if rights.read_acl(hole):
        return _(b'it has an ACL: see getfacl %s') % path
    if status.st_gid in who.groups:
        group = util.groupname(status.st_gid)
        line = _(b'by the group %s: gpasswd -d %s %s, or chmod g-%s %s')
        name = wording.text(who.name)
        return line % (group, name, group, letter, path)
    return _(b'as everybody may: chmod o-%s %s') % (letter, path)
