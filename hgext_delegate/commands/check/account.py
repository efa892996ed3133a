# account.py - what the deploy account may do on the server's machine
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''whether the deploy account, on the server's own machine, is kept out

It must be another account, read no private key of the server account, and
write nothing that decides what the server account does.
'''

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from mercurial import (
    pycompat,
    util,
)
from mercurial.i18n import _

from ... import imports
from ...config import targets
from ...report import wording
from ..setup import private
from . import finding, rights

_TOPIC = b'account'

# shells that run no command, or but their own
_IDLE = ('nologin', 'false', 'true', 'sync', 'git-shell')


def elsewhere(target: targets.Target, user: str) -> finding.Finding:
    '''for an account that is not on this machine'''
    about = finding.About(pycompat.sysbytes(target.name), _TOPIC)
    line = _(b'%s is on another machine: what it may do there is not looked at')
    return about.ok(line % wording.text(user))


def check(
    ui, repo, target: targets.Target, user: str, keys: Sequence[str]
) -> Iterator[finding.Finding]:
    '''what is wrong with the account ``user`` of this machine

    ``keys`` are the private key files of the server account.
    '''
    about = finding.About(pycompat.sysbytes(target.name), _TOPIC)
    name = wording.text(user)
    who = rights.account(user)
    if who is None:
        yield about.warning(
            _(b'%s is not an account of this machine') % name,
            _(b'if sshd runs in a container, make sure it is not root there'),
        )
    elif who.uid == 0:
        yield about.error(
            _(b'%s is root') % name, _(b'make an account without any rights')
        )
    elif who.uid == os.geteuid():
        yield about.error(
            _(b'%s is the server account itself') % name,
            _(b'make another account to deploy with'),
        )
    else:
        yield from _usable(about, who)
        holes = [*_readable(about, who, keys), *_writable(about, who, ui, repo)]
        yield from holes
        if not holes:
            line = _(
                b'%s reads no key and writes nothing of the server account'
            )
            yield about.ok(line % name)


def _usable(
    about: finding.About, who: rights.Account
) -> Iterator[finding.Finding]:
    '''what sshd needs to run a forced command there'''
    name = wording.text(who.name)
    idle = os.path.basename(who.shell) in _IDLE
    if idle or not (
        os.path.isfile(who.shell) and os.access(who.shell, os.X_OK)
    ):
        yield about.error(
            _(b'the shell of %s, %s, runs no command')
            % (name, os.fsencode(who.shell)),
            _(b'chsh -s /bin/sh %s') % name,
        )
    if not os.path.isdir(who.home):
        yield about.error(
            _(b'the home of %s, %s, is not there')
            % (name, os.fsencode(who.home)),
            _(b'make it: authorized_keys and the clone are below it'),
        )


def _readable(
    about: finding.About, who: rights.Account, keys: Sequence[str]
) -> Iterator[finding.Finding]:
    for path in keys:
        hole = rights.hole(who, path, rights.READ)
        if hole:
            line = _(b'%s may read the private key %s')
            line %= wording.text(who.name), os.fsencode(path)
            yield about.error(line, _remedy(who, hole, rights.READ))


def _writable(
    about: finding.About, who: rights.Account, ui, repo
) -> Iterator[finding.Finding]:
    seen = set()
    for path in protected(ui, repo):
        hole = rights.hole(who, path, rights.WRITE)
        if hole and hole.path not in seen:
            seen.add(hole.path)
            line = _(b'%s may write %s')
            line %= wording.text(who.name), os.fsencode(hole.path)
            yield about.error(line, _remedy(who, hole, rights.WRITE))


def protected(ui, repo) -> Iterator[str]:
    '''what decides what the server account does, or is the repository

    Of folders also what is directly in them, but no deeper: a large
    repository is not walked through. The folders on the way count as well,
    the home of the server account among them.
    '''
    for folder in (
        *map(os.fsdecode, (repo.path, repo.sharedpath, repo.svfs.join(b''))),
        os.path.expanduser('~/.ssh'),
        private.place(),
        *_code(),
    ):
        yield folder
        yield from _entries(folder)
    yield from dict.fromkeys(_config_files(ui))


def _code() -> Iterator[str]:
    '''the folders of this extension'''
    (top,) = imports.extension().__path__
    for folder, _folders, _files in os.walk(top):
        yield folder


def _entries(folder: str) -> Iterable[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except OSError:
        return []


def _config_files(ui) -> Iterator[str]:
    for section, name, _value in ui.walkconfig():
        source = ui.configsource(section, name)
        match = re.match(rb'(/.*):[0-9]+\Z', source)
        if match:
            yield os.fsdecode(match.group(1))


def _remedy(who: rights.Account, hole: rights.Hole, want: int) -> bytes:
    path = os.fsencode(hole.path)
    name = wording.text(who.name)
    letter = b'r' if want == rights.READ else b'w'
    if hole.owner:
        owner = util.username(os.geteuid())
        return _(b'it owns it: chown %s %s') % (owner, path)
    if hole.acl:
        return _(b'it has an ACL: see getfacl %s') % path
    if hole.group:
        group = os.fsencode(hole.group)
        line = _(b'by the group %s: gpasswd -d %s %s, or chmod g-%s %s')
        return line % (group, name, group, letter, path)
    return _(b'as everybody may: chmod o-%s %s') % (letter, path)
