# SPDX-License-Identifier: GPL-2.0-or-later
'''why sshd of this very machine may have refused a key

It does not say why. So the account is looked at, as far as this account may.
'''

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import shlex
import time
from collections.abc import Iterator, Sequence

from . import addresses, config, errors, from_option, knownhosts, regular_file

_DAY = 24 * 60 * 60
_CONFIG = '/etc/ssh/sshd_config'
# where sshd is told to look for keys elsewhere
_ELSEWHERE = re.compile(
    rb'(?im)^\s*(AuthorizedKeysFile(?!.*\.ssh/authorized_keys)'
    rb'|AuthorizedKeysCommand\b(?!.*none))'
)
# YYYYMMDD[HHMM[SS]][Z]
_ENDS = re.compile(
    r'\bexpiry-time="(\d{8}(?:\d{4}(?:\d\d)?)?)(Z?)"', re.ASCII | re.IGNORECASE
)


def refused(
    host: config.Destination, keys: Sequence[knownhosts.Key]
) -> errors.SessionError:
    '''the error that ``host`` has refused ``keys``, with the likely reason'''
    reason = f'{host.host} refused the key as {host.user}'
    ways = addresses.ways(host)
    if addresses.is_this_machine(ways):
        sources = addresses.sources(ways)
        for path, remedy in _causes(host.user, keys, sources):
            if remedy:
                return errors.ConfigurationError(reason, remedy, path=path)
    return errors.ConfigurationError(
        reason,
        'authorized_keys there needs its public half; the log of sshd says '
        'more',
    )


def _causes(
    user: str, keys: Sequence[knownhosts.Key], sources: Sequence[str]
) -> Iterator[tuple[str, str]]:
    '''each cause that can be seen: the file that it is about, and a remedy'''
    try:
        who = pwd.getpwnam(user)
    except KeyError:
        yield '', f"this machine has no account {user}: mend the target's URL"
        return
    if not os.access(who.pw_shell or '/bin/sh', os.X_OK):
        yield '', f'the shell of {user} is no program: chsh -s /bin/sh {user}'
    locked, expired = _shadow(user)
    if expired:
        yield '', f'the account {user} has expired: chage -E -1 {user}'
    if not _is_elsewhere():
        yield from _files(who, keys, sources)
    if locked:
        how = f"usermod -p '*' {user}"
        yield '', f'{user} is locked, which sshd without PAM refuses: {how}'


def _shadow(user: str) -> tuple[bool, bool]:
    '''whether the account is locked, and whether it has expired

    Both False where /etc/shadow cannot be read, or says nothing.
    '''
    with contextlib.suppress(OSError):
        content = regular_file.read('/etc/shadow')[1].decode('latin-1')
        for line in content.splitlines():
            name, password, *rest = line.split(':')
            if name == user:
                # shadow(5): the expiration date is the eighth field
                ends = int(rest[5] or -1) if rest[5:] else -1
                over = 0 <= ends * _DAY < time.time()
                return password.startswith('!'), over
    return False, False


def _is_elsewhere() -> bool:
    '''whether sshd may look for keys in another file, or cannot be asked'''
    try:
        return any(
            _ELSEWHERE.search(regular_file.read(path)[1])
            for path in (_CONFIG, *glob.glob(_CONFIG + '.d/*.conf'))
        )
    except OSError:
        return True


def _files(
    who: pwd.struct_passwd,
    keys: Sequence[knownhosts.Key],
    sources: Sequence[str],
) -> Iterator[tuple[str, str]]:
    path = os.path.join(who.pw_dir, '.ssh', 'authorized_keys')
    # What cannot be looked at is not the cause that can be seen.
    with contextlib.suppress(OSError):
        yield from _rights(who, path, 0o002)
        content = regular_file.read(path)[1].decode('utf-8', 'replace')
        yield path, _line(content, keys, sources)
        # Debian's sshd lets a group write that has no other member.
        yield from _rights(who, path, 0o020)


def _rights(
    who: pwd.struct_passwd, path: str, others: int
) -> Iterator[tuple[str, str]]:
    '''what StrictModes has against ``path``, and what it is below'''
    name = who.pw_name
    for place in (who.pw_dir, os.path.dirname(path), path):
        if place != who.pw_dir and os.path.islink(place):
            # a remedy would change what the account has it lead to
            return
        quoted = shlex.quote(place)
        try:
            status = os.stat(place)
        except FileNotFoundError:
            yield path, f'{path} is not there: {name} needs it'
            return
        if status.st_uid not in (0, who.pw_uid):
            yield place, f'{place} is not of {name}: chown {name} {quoted}'
        if status.st_mode & others:
            yield place, f'others may write {place}: chmod go-w {quoted}'


def _line(
    content: str, keys: Sequence[knownhosts.Key], sources: Sequence[str]
) -> str:
    '''what the lines of authorized_keys have against ``keys``'''
    found = [
        line.partition(key.text)[0]
        for line in content.splitlines()
        for key in keys
        if key.text in line and not line.lstrip().startswith('#')
    ]
    if not found:
        return 'its authorized_keys has no line with this key'
    for options in found:
        allowed = re.search(r'\bfrom="([^"]*)"', options, re.IGNORECASE)
        ends = _ENDS.search(options)
        if allowed and not any(
            from_option.allows(allowed[1], each) for each in sources
        ):
            where = ' or '.join(sources)
            return f'from= of its line in authorized_keys must allow {where}'
        if ends:
            now = time.gmtime() if ends[2] else time.localtime()
            if ends[1] <= time.strftime('%Y%m%d%H%M%S', now):
                return f'expiry-time={ends[1]} of its line there is over'
    return ''
