# SPDX-License-Identifier: GPL-2.0-or-later
'''what a pusher reads of delegations, in one place

All is bytes in the user's language, safe to print, without the ``delegate: ``
that the printer puts before them. The reasons why a session failed stand in
``ssh``, and what is wrong with a value stands in ``config``.
'''

from __future__ import annotations

import re
import time
from collections.abc import Callable

from mercurial import encoding, error, pycompat
from mercurial.i18n import _
from mercurial.utils import stringutil

from .. import errors, sanitizer
from ..push import selection
from ..state import delegation, holds

Verdict = tuple[bytes, tuple[bytes, ...]]


def verdict(row: delegation.Delegation) -> Verdict:
    '''what became of ``row``, as the last line, and what to do next'''
    return _VERDICTS[row.state](row)


_VERDICTS: dict[str, Callable[[delegation.Delegation], Verdict]] = {
    delegation.PENDING: lambda row: pending(
        row.target,
        row.reason or pycompat.sysstr(_(b'it has not begun')),
        row.remedy,
        row.is_undecided,
    ),
    delegation.RUNNING: lambda row: (
        _(b'running: the process that runs it cannot be seen'),
        (more(row),),
    ),
    delegation.SUCCEEDED: lambda row: (
        _(b'deployed %s in %.1f s') % (short(row.node), row.seconds or 0),
        (text(row.remedy),),
    ),
    delegation.FAILED: lambda row: (
        _(b'failed: %s after %.1f s') % (text(row.reason), row.seconds or 0),
        (text(row.remedy), more(row), _again(row)),
    ),
    delegation.LOST: lambda row: (
        _(b'lost: %s after %.1f s') % (text(row.reason), row.seconds or 0),
        ()
        if row.is_of_gate
        else (_(b'nobody knows whether it was deployed'), _again(row)),
    ),
    delegation.SUPERSEDED: lambda row: (_(b'superseded'), ()),
    delegation.CANCELLED: lambda row: (
        (text(row.reason), (text(row.remedy),))
        if row.is_of_gate
        else (
            _(b'failed: %s') % text(row.reason),
            (text(row.remedy), _again(row)),
        )
    ),
    delegation.PASSED: lambda row: (
        _(b'passed in %.1f s') % (row.seconds or 0),
        (text(row.remedy),),
    ),
    delegation.REFUSED: lambda row: (
        _(b'refused: %s after %.1f s') % (text(row.reason), row.seconds or 0),
        (text(row.remedy), more(row)),
    ),
}


def pending(
    target: str, reason: str, remedy: str = '', undecided: bool = False
) -> Verdict:
    '''that a push to ``target`` waits, why, and what happens next'''
    later = _(
        b"tried again at the next push to %s, or by 'hg delegate --pending'"
    )
    if undecided:
        later = _(
            b"it may have run; 'hg delegate --pending %s' asks the receiver"
        )
    line = _(b'pending: %s') % text(reason)
    if remedy.startswith(delegation.ONCE):
        return line, (text(remedy),)
    return line, (text(remedy), later % text(target))


def held(hold: holds.Hold, target: str) -> tuple[str, str]:
    '''why what is pushed to ``target`` waits, and until when'''
    reason = 'held by %s' % hold.who
    if hold.since is not None:
        reason += ' since %s' % pycompat.sysstr(moment(hold.since))
    if hold.reason:
        reason += ': %s' % hold.reason
    remedy = delegation.ONCE + "it is released: 'hg delegate-hold --release %s'"
    return reason, remedy % target


def after(
    target: str, row: delegation.Delegation | None, excluded: bool
) -> tuple[str, str]:
    '''why what comes after ``target`` waits, and until when

    ``row`` is the delegation of the same push to ``target``, if there is one;
    with ``excluded`` its ``when`` has excluded the push.
    '''
    if row is None:
        reason = 'it is not for %s' if excluded else '%s does not have it'
    else:
        reason = {
            delegation.PENDING: '%s has not succeeded yet',
            delegation.RUNNING: '%s has not succeeded yet',
            delegation.FAILED: '%s failed',
            delegation.LOST: '%s was lost',
            delegation.CANCELLED: '%s was cancelled',
            # something else by now, which does not contain it
            delegation.SUCCEEDED: '%s does not have it any more',
            delegation.SUPERSEDED: '%s has another one',
        }[row.state]
    return reason % target, once_after(target)


def once_after(target: str) -> str:
    '''the remedy of what waits for ``target``'''
    return delegation.ONCE + 'it has succeeded at %s' % target


def _again(row: delegation.Delegation) -> bytes:
    return _(b"'hg delegate %s' on the server runs it again") % text(row.target)


def more(row: delegation.Delegation) -> bytes:
    return _(b"'hg delegate-log %d' on the server shows more") % row.number


def superseded_by(row: delegation.Delegation) -> Verdict:
    return _(b'superseded by %s') % short(row.node), ()


def of(target: str, line: bytes) -> bytes:
    '''``line`` with the name of the target that it is about'''
    return b'%s: %s' % (text(target), line)


def whom(row: delegation.Delegation) -> bytes:
    '''who pushed what ``row`` delegates'''
    return text(row.pusher[:40]) if row.pusher else _(b'an unknown pusher')


def recollection(row: delegation.Delegation) -> Verdict:
    '''that the last one went wrong, and where to see more'''
    lost = row.state == delegation.LOST
    line = _(b'the last delegation, %d of %s, %s: %s')
    line %= (
        row.number,
        whom(row),
        _(b'was lost') if lost else _(b'failed'),
        text(row.reason),
    )
    where = _(b"on %s; 'hg delegate-log %d' on the server shows more")
    return line, (where % (moment(row.ended or row.created), row.number),)


def left_behind(old: str, new: str, back: bool) -> bytes:
    '''that what is deployed is not in ``new``, which may be older than it'''
    if back:
        line = _(b'going back from %s to %s')
    else:
        line = _(b'leaving %s, which is not in %s')
    return line % (short(old), short(new))


def rolled_back(row: delegation.Delegation, old: str) -> bytes:
    '''that somebody went back by hand, which this push undoes'''
    line = _(b'%s had gone back from %s to %s since the last push')
    return line % (whom(row), short(old), short(row.node))


def chosen(node: str, count: int, target: str) -> tuple[bytes, bytes]:
    '''why ``node`` is deployed where a push has ``count`` open heads'''
    line = _(b'%s is the newest of %d open heads that were pushed for it')
    hint = _(b"'%s:when = present(branch(NAME))' in the hgrc says which")
    return line % (short(node), count), hint % text(target)


def unasked(name: str, is_optional: bool) -> tuple[bytes, bytes]:
    '''that a gate cannot be asked as it is configured'''
    line = _(b'refused: it cannot be asked as it is configured')
    if is_optional:
        return _(b'not asked: its configuration is wrong'), OPTIONAL
    return line, _(b"'hg delegate-check %s' on the server says more") % text(
        name
    )


def no_gate(line: bytes, hint: bytes = b'') -> tuple[bytes, bytes]:
    '''that no gate could be asked at all'''
    return _(b'push refused, since no gate can be asked: %s') % line, hint


NOT_ENABLED = (
    _(b'a gate needs the extension enabled: nothing has asked it'),
    _(b"write 'hgext_delegate =' into [extensions] of the hgrc"),
)
OPTIONAL = _(b'this gate is optional: the push goes on without it')
UNDECIDED = _(b'delegation %d may have run: its receiver is asked about it now')
OWN = _(b'pushed by the deploy that runs now; it is deployed after that one')
CIRCLE = (
    'its deploys push again and again',
    'let the script push only what is new; it is not run for this one now',
)
HANDED_OVER = _(b'handed over as delegation %d')
RECORD_GONE = _(b'its record is gone')
NO_PUSHVARS = (
    _(b'DELEGATE is ignored: this server takes no variables from pushers'),
    _(b"'push.pushvars.server = yes' in its hgrc takes them"),
)
SKIPPED = _(b'not delegated: DELEGATE=skip')

# what is wrong with the configuration, the journal or the host


def config_error(item: bytes, source: bytes, problem: bytes) -> bytes:
    return safe(_(b'%s in %s: %s') % (item, source, problem))


def revset_problem(exc: Exception) -> tuple[bytes, bytes]:
    '''why a revset cannot be evaluated, and what to do'''
    problem = getattr(exc, 'message', None) or stringutil.forcebytestr(exc)
    if isinstance(exc, error.RepoLookupError):
        # such as branch(stable), before there is one
        return problem, _(
            b'write present() around it, such as: present(branch(default))'
        )
    if isinstance(exc, selection.SlowRevsetError):
        return problem, exc.hint or b''
    return problem, _(b"see 'hg help revsets'; pushes wait for it meanwhile")


def of_error(exc: errors.DelegateError | OSError) -> tuple[bytes, bytes]:
    '''what is wrong, and what to do'''
    if isinstance(exc, errors.DelegateError):
        return text(exc.reason), text(exc.remedy)
    line = _(b'cannot delegate now: %s')
    return (
        line % encoding.strtolocal(exc.strerror or ''),
        _(b"later, 'hg delegate --pending' on the server does"),
    )


def of_import(exc: ImportError) -> tuple[bytes, bytes]:
    '''what is wrong; not in the words of ``exc``, which may name folders'''
    why = '%s cannot be imported' % (exc.name or 'paramiko')
    return (
        _(b'cannot log in anywhere: %s') % text(why),
        _(b'install paramiko for the Python that runs hg'),
    )


def bad_wish(wish: bytes, known: list[bytes]) -> tuple[bytes, bytes]:
    '''that --pushvars DELEGATE=``wish`` cannot be followed'''
    return (
        _(b'delegate: DELEGATE=%s is not understood')
        % stringutil.escapestr(wish[:100]),
        _(b'use skip, or only: and some of %s') % b','.join(known),
    )


# how values are shown


def duration(seconds: float | None) -> bytes:
    if seconds is None:
        return b'-'
    return (_(b'%.1f s') if seconds < 9.95 else _(b'%.0f s')) % seconds


def moment(seconds: float) -> bytes:
    '''``seconds`` since the epoch'''
    text = time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(seconds))
    return text.encode('ascii')


def short(node: str) -> bytes:
    return node[:12].encode('ascii')


def safe(value: bytes) -> bytes:
    '''``value`` as it is, without what could steer the terminal'''
    return re.sub(rb'[\0-\x1f\x7f]|\xc2[\x80-\x9f]', b'?', value)


def text(value: str) -> bytes:
    '''``value`` for the terminal, without what could steer it'''
    known = sanitizer.JOINERS
    value = sanitizer.without_stray_joiners(value)
    shown = ''.join(c if c.isprintable() or c in known else '?' for c in value)
    return shown.encode('utf-8')
