# SPDX-License-Identifier: GPL-2.0-or-later
'''whether a target's account can be logged in to, with what, and what that
login may do; nothing is asked to run but a receiver'''

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from mercurial import util
from mercurial.i18n import _

from ... import protocol
from ...config import targets
from ...delivery import connection
from ...report import wording
from ...ssh import addresses, config, errors as errorsmod, probe, session
from . import account, finding, receiver

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


def check(ui, repo, target: targets.Target) -> Findings:
    '''keys, server, boundary and account of ``target``'''
    about = finding.of(target.name, b'server')
    try:
        host = session.find(
            target.host,
            target.port,
            target.user,
            allow_root=target.allow_root,
            target=target.name,
        )
        unused = session.unused(host)
    except session.SessionError as error:
        yield about.error(*worded(error))
        return
    for setting in unused:
        line = _(b"the ssh config has '%s', which is not used")
        remedy = _(b'take it out for this host, or do without')
        yield about.warning(line % wording.text(setting), remedy)
    paths = [target.identity] if target.identity else [*host.identities]
    of_keys = keys(paths, target)
    yield from of_keys
    ways, made = addresses.ways(host), []
    # Without a key there is nothing to log in with, and that is said.
    if any(found.level != finding.ERROR for found in of_keys):
        made = attempts(target, ways)
        yield from login(target, host, made)
        yield from boundary(target, host.user, made)
    is_here = addresses.is_this_machine(ways)
    bars = [*account.unreadable(repo, target, host.user)] if is_here else []
    if not protocol.standby(target):
        # a script may get the changesets in another way
        yield from (dataclasses.replace(b, level=finding.WARNING) for b in bars)
        if any(each.agreed for each in made):
            line = _(b'only a receiver tells if what is run can keep %s')
            about = finding.of(target.name, b'receiver')
            yield about.ok(line % wording.text(host.user))
    elif any(each.agreed and each.forced is not False for each in made):
        yield from receiver.check(repo, target, host.user, bars)
    if is_here:
        yield from account.check(ui, repo, target, host.user, paths)
    elif ways or host.proxy:
        line = _(
            b'%s is on another machine: what it may do there is not looked at'
        )
        about = finding.of(target.name, b'account')
        yield about.ok(line % wording.text(host.user))


def keys(paths: Sequence[str], target: targets.Target) -> list[finding.Finding]:
    '''what there is to say of the private keys at ``paths``

    One that cannot be used is an error where there is no other.
    '''
    about = finding.of(target.name, b'key')
    found, errors = [], []
    for path in paths:
        try:
            found.append(_key(about, path, session.public_key(path).short))
        except session.SessionError as error:
            errors.append(error)
    if not paths:
        remedy = _(b'make one with ssh-keygen, and name it as %s:identity')
        line = _(b'there is no private key to log in with')
        return [about.error(line, remedy % about.target)]
    make = about.warning if found else about.error
    return found + [make(*worded(error)) for error in errors]


def _key(about: finding.About, path: str, shown: str) -> finding.Finding:
    status = os.stat(path)
    name = os.fsencode(path)
    mode = status.st_mode & 0o7777
    line = _(b'identity %s: %s, mode %04o, of %s')
    line %= name, wording.text(shown), mode, util.username(status.st_uid)
    if status.st_uid in (0, os.geteuid()):
        return about.ok(line)
    remedy = _(b'let the account that runs hg own it: chown %s %s')
    return about.warning(line, remedy % (util.username(os.geteuid()), name))


def worded(error: session.SessionError) -> tuple[bytes, bytes]:
    '''message and remedy; files may be named'''
    line, advice = error.whole
    if error.detail.startswith('/'):
        line += ' (%s)' % error.detail
    return wording.text(line), wording.text(advice)


def attempts(
    target: targets.Target, ways: Sequence[addresses.Way]
) -> list[Attempt]:
    '''log in by each of ``ways``, in the order in which a push tries them'''
    made = []
    unknown: Sequence[addresses.Way | None] = [None]
    for way in ways or unknown:
        agreed = None
        try:
            there = way.there if way else None
            with connection.connect(target, address=there) as opened:
                agreed = opened.agreed()
                may = opened.granted(), opened.forced()
                made.append(Attempt(way, agreed, *may))
        except session.SessionError as error:
            made.append(Attempt(way, agreed, error=error))
    return made


def login(
    target: targets.Target, host: config.Destination, made: Sequence[Attempt]
) -> Findings:
    '''which addresses take the login

    The first that answers is the one that a push uses.
    '''
    about = finding.of(target.name, b'server')
    answering = [
        attempt
        for attempt in made
        if not attempt.error or attempt.error.step != errorsmod.CONNECTING
    ]
    for attempt in made:
        if attempt.agreed:
            yield _logged_in(about, host, attempt.way, attempt.agreed)
            continue
        assert attempt.error is not None
        line, remedy = worded(attempt.error)
        if attempt.error.step == errorsmod.CONNECTING:
            remedy = remedy or _(b'see what routes and firewalls are there')
        if attempt.way and attempt.error.step == errorsmod.LOGIN:
            more = _(b'; if the line there has from=, it must allow %s')
            remedy += more % wording.text(attempt.way.here)
        decides = not answering or attempt is answering[0]
        yield (about.error if decides else about.warning)(line, remedy)
    agreed = next((a.agreed for a in made if a.agreed), None)
    if agreed is None:
        return
    shown = wording.text(agreed.hostkey.short)
    if target.hostkey:
        yield about.ok(_(b'host key %s is pinned') % shown)
    else:
        line = _(b'host key %s is known from known_hosts, and not pinned')
        pin = _(b'pin it: %s:hostkey = %s')
        pin %= about.target, wording.text(agreed.hostkey.text)
        yield about.warning(line % shown, pin)
    names = wording.text(', '.join(agreed.algorithms))
    yield about.ok(_(b'agreed on %s') % names)


def _logged_in(
    about: finding.About,
    host: config.Destination,
    way: addresses.Way | None,
    agreed: session.Agreed,
) -> finding.Finding:
    line = _(b'%s is logged in to as %s, with %s')
    words = [host.user, agreed.key.short]
    if way:
        host = dataclasses.replace(host, host=way.there)
        line = _(b'%s is logged in to as %s, with %s, from %s')
        words.append(way.here)
    return about.ok(line % tuple(map(wording.text, [str(host), *words])))


def boundary(
    target: targets.Target, user: str, made: Sequence[Attempt]
) -> Findings:
    '''what sshd grants besides the command; all of it must be refused'''
    about = finding.of(target.name, b'boundary')
    logins = [attempt for attempt in made if attempt.agreed]
    for attempt in logins:
        if attempt.error:
            line, remedy = worded(attempt.error)
            problem = _(b'what the key may do cannot be found out: %s') % line
            yield about.error(problem, remedy)
            return
    if not logins:
        return
    needs = _(b"its line in %s's authorized_keys needs %s")
    granted = {grant for attempt in logins for grant in attempt.granted}
    for grant, word in probe.GRANTS.items():
        if grant in granted:
            words = _(b"'restrict', no '%s' after") % wording.text(word)
            line = _(b'%s is granted to the key') % wording.text(grant)
            yield about.error(line, needs % (wording.text(user), words))
    if not granted:
        # all of probe.GRANTS
        line = _(b'refused, when asked for: a pty; agent, X11, port forwarding')
        yield about.ok(line)
    # what sshd says of the key's line
    forced = {attempt.forced for attempt in logins}
    remedy = needs % (wording.text(user), b'command="..."')
    if forced == {True}:
        yield about.ok(
            _(b'sshd confirms: the key can run its forced command only')
        )
    elif False in forced:
        line = _(b'its line has no command=, so the key may run any command')
        yield about.error(line, remedy)
    else:
        line = _(b'sshd does not say whether the key may run any command')
        yield about.warning(line, remedy)
