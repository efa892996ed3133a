# SPDX-License-Identifier: GPL-2.0-or-later
'''whether a target's account can be logged in to, with what, and what that
login may do; nothing is asked to run'''

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from mercurial import pycompat, util
from mercurial.i18n import _

from ...config import targets
from ...delivery import connection
from ...report import wording
from ...ssh import (
    addresses,
    config,
    errors as errorsmod,
    knownhosts,
    probe,
    session,
)
from . import account, finding

Findings = Iterator[finding.Finding]


@dataclasses.dataclass(frozen=True)
class Attempt:
    '''a login by one ``way``, None where none is known (a jump host, say)

    ``agreed`` is with what it was made, ``granted`` what it may do besides the
    command, ``forced`` whether that is the only one; ``error`` is what failed.
    '''

    way: addresses.Way | None
    agreed: session.Agreed | None = None
    granted: Sequence[str] = ()
    forced: bool | None = None
    error: session.SessionError | None = None

    @property
    def connected(self) -> bool:
        return self.error is None or self.error.step != errorsmod.CONNECTING


def check(ui, repo, target: targets.Target) -> Findings:
    '''keys, server, boundary and account of ``target``'''
    try:
        host = session.find(target.host, target.port, target.user)
        yield from unused(target, host)
    except session.SessionError as error:
        about = finding.About(pycompat.sysbytes(target.name), b'server')
        yield about.error(*worded(error))
        return
    paths = identities(target, host)
    of_keys = keys(paths, target)
    yield from of_keys
    ways = addresses.ways(host)
    # Without a key there is nothing to log in with, and that is said.
    if any(found.level != finding.ERROR for found in of_keys):
        made = attempts(target, ways)
        yield from login(target, host, made)
        yield from boundary(target, host.user, made)
    if addresses.is_this_machine(ways):
        yield from account.check(ui, repo, target, host.user, paths)
    elif ways or host.proxy:
        yield account.elsewhere(target, host.user)


def unused(target: targets.Target, host: config.Destination) -> Findings:
    '''what the ssh config sets for ``host`` without being heard'''
    for line in session.unused(host):
        about = finding.About(pycompat.sysbytes(target.name), b'server')
        yield about.warning(
            _(b"the ssh config has '%s', which is not used")
            % wording.text(line),
            _(b'take it out for this host, or do without'),
        )


def identities(target: targets.Target, host: config.Destination) -> list[str]:
    '''the private key files that are tried, in this order'''
    if target.identity:
        return [target.identity]
    return [*host.identities]


def keys(paths: Sequence[str], target: targets.Target) -> list[finding.Finding]:
    '''what there is to say of the private keys at ``paths``

    One that cannot be used is an error where there is no other.
    '''
    about = finding.About(pycompat.sysbytes(target.name), b'key')
    found, errors = [], []
    for path in paths:
        try:
            key = session.public_key(path)
        except session.SessionError as error:
            errors.append(error)
            continue
        found.append(_key(about, path, key.short))
    if not paths:
        return [about.error(
            _(b'there is no private key to log in with'),
            _(b'make one with ssh-keygen, and name it as %s:identity')
            % about.target,
        )]  # fmt: skip
    make = about.warning if found else about.error
    remedy = _(b'let the account that runs hg own it, with mode 0600')
    return found + [make(*worded(error, remedy)) for error in errors]


def _key(about: finding.About, path: str, shown: str) -> finding.Finding:
    status = os.stat(path)
    owner = util.username(status.st_uid)
    name = os.fsencode(path)
    line = _(b'identity %s: %s, mode %04o, of %s')
    mode = status.st_mode & 0o7777
    line %= name, wording.text(shown), mode, owner
    if status.st_uid in (0, os.geteuid()):
        return about.ok(line)
    remedy = _(b'let the account that runs hg own it: chown %s %s')
    return about.warning(line, remedy % (util.username(os.geteuid()), name))


def worded(
    error: session.SessionError, remedy: bytes = b''
) -> tuple[bytes, bytes]:
    '''message and remedy (``remedy`` if it has none); files may be named'''
    line = error.reason
    if error.detail.startswith('/'):
        line += ' (%s)' % error.detail
    return wording.text(line), wording.text(error.remedy) or remedy


def attempts(
    target: targets.Target, ways: Sequence[addresses.Way]
) -> list[Attempt]:
    '''log in by each of ``ways``, in the order in which a push tries them'''
    return [_attempt(target, way) for way in ways] or [_attempt(target, None)]


def _attempt(target: targets.Target, way: addresses.Way | None) -> Attempt:
    agreed = None
    try:
        there = way.there if way else None
        with connection.connect(target, address=there) as opened:
            agreed = opened.agreed()
            return Attempt(way, agreed, opened.granted(), opened.forced())
    except session.SessionError as error:
        return Attempt(way, agreed, error=error)


def login(
    target: targets.Target, host: config.Destination, made: Sequence[Attempt]
) -> Findings:
    '''which addresses take the login

    The first that answers is the one that a push uses.
    '''
    about = finding.About(pycompat.sysbytes(target.name), b'server')
    decisive = next((a for a in made if a.connected), None)
    for attempt in made:
        if attempt.agreed:
            yield _logged_in(about, host, attempt.way, attempt.agreed.key)
            continue
        assert attempt.error is not None
        make = about.warning
        if decisive in (None, attempt):
            make = about.error
        line, remedy = worded(attempt.error)
        if attempt.error.step == errorsmod.CONNECTING:
            remedy = remedy or _(b'see what routes and firewalls are there')
        if attempt.way and attempt.error.step == errorsmod.LOGIN:
            source = wording.text(attempt.way.here)
            remedy += _(b'; if the line there has from=, it must allow %s')
            remedy %= source
        yield make(line, remedy)
    agreed = next((a.agreed for a in made if a.agreed), None)
    if agreed:
        yield _host_key(about, target, agreed.hostkey)
        names = wording.text(', '.join(agreed.algorithms))
        yield about.ok(_(b'agreed on %s') % names)


def _logged_in(
    about: finding.About,
    host: config.Destination,
    way: addresses.Way | None,
    key: knownhosts.Key,
) -> finding.Finding:
    line = _(b'%s is logged in to as %s, with %s')
    words = [host.user, key.short]
    if way:
        host = dataclasses.replace(host, host=way.there)
        line = _(b'%s is logged in to as %s, with %s, from %s')
        words.append(way.here)
    return about.ok(line % tuple(map(wording.text, [str(host), *words])))


def _host_key(
    about: finding.About, target: targets.Target, key: knownhosts.Key
) -> finding.Finding:
    shown = wording.text(key.short)
    if target.hostkey:
        return about.ok(_(b'host key %s is pinned') % shown)
    return about.warning(
        _(b'host key %s is known from known_hosts, and not pinned') % shown,
        _(b'pin it: %s:hostkey = %s') % (about.target, wording.text(key.text)),
    )


def boundary(
    target: targets.Target, user: str, made: Sequence[Attempt]
) -> Findings:
    '''what sshd grants besides the command; all of it must be refused'''
    about = finding.About(pycompat.sysbytes(target.name), b'boundary')
    logins = [attempt for attempt in made if attempt.agreed]
    for attempt in logins:
        if attempt.error:
            line, remedy = worded(attempt.error)
            problem = _(b'what the key may do cannot be found out: %s') % line
            yield about.error(problem, remedy)
            return
    granted = {grant for attempt in logins for grant in attempt.granted}
    for grant, word in probe.GRANTS.items():
        if grant in granted:
            yield about.error(
                _(b'%s is granted to the key') % wording.text(grant),
                _(
                    b"its line in %s's authorized_keys needs 'restrict', "
                    b"no '%s' after"
                )
                % (wording.text(user), wording.text(word)),
            )
    if logins and not granted:
        # all of probe.GRANTS
        line = _(b'refused, when asked for: a pty; agent, X11, port forwarding')
        yield about.ok(line)
    if logins:
        forced = {attempt.forced for attempt in logins}
        yield _command(about, wording.text(user), forced)


def _command(
    about: finding.About, user: bytes, forced: set[bool | None]
) -> finding.Finding:
    '''whether the key may run one command alone, by what sshd says of it'''
    if forced == {True}:
        return about.ok(_(b'the key may run one command alone, says sshd'))
    remedy = _(b"its line in %s's authorized_keys needs command=\"...\"") % user
    if False in forced:
        line = _(b'its line has no command=, so the key may run any command')
        return about.error(line, remedy)
    line = _(b'sshd does not say whether the key may run any command')
    return about.warning(line, remedy)
