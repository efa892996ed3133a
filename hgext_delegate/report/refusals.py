# SPDX-License-Identifier: GPL-2.0-or-later
'''why the push channel does not do what it was asked for, and what to do

Each returns the line and the hint. What a client has sent is shown escaped
and cut.
'''

from __future__ import annotations

from mercurial import pycompat
from mercurial.i18n import _
from mercurial.utils import stringutil

from ..state import delegation, holds
from . import wording

Words = tuple[bytes, bytes]

LIST = _(b"'hg debugpushkey URL delegate' lists what there is")


def unknown_target(name: bytes) -> Words:
    return _(b"there is no target '%s'") % _shown(name), LIST


def a_gate(target: str) -> Words:
    return wording.of(
        target, _(b'it is a gate: nothing is delegated to it')
    ), LIST


def unusable(target: str) -> Words:
    line = _(b'it cannot be used as it is configured')
    hint = _(b"'hg delegate-check' on the server says why")
    return wording.of(target, line), hint


def not_allowed(target: str) -> Words:
    line = _(b'the push channel may not delegate to it, nor cancel')
    hint = _(b"'%s:remote = push' in the server's hgrc allows it")
    return wording.of(target, line), hint % wording.text(target)


def held(hold: holds.Hold, target: str) -> Words:
    reason = wording.text(wording.held(hold, target)[0])
    line = wording.of(target, _(b'not delegated: %s') % reason)
    hint = _(b"'hg delegate-hold --release %s' on the server lets it go")
    return line, hint % wording.text(target)


def no_node(target: str, new: bytes) -> Words:
    line = _(b"'%s' is not a whole changeset ID") % _shown(new)
    return wording.of(target, line), _(b'write all of its 40 digits')


def not_there(target: str, node: str) -> Words:
    line = _(b'nobody can pull a changeset %s from here') % wording.short(node)
    return wording.of(target, line), _(b'push it; what is secret stays secret')


def not_in_when(target: str, node: str) -> Words:
    line = _(b'%s is not for it') % wording.short(node)
    hint = _(b"'%s:when' on the server says what is")
    return wording.of(target, line), hint % wording.text(target)


def nothing_for(target: str) -> Words:
    line = _(b'no changeset of the repository is for it')
    hint = _(b"'%s:when' on the server says what is")
    return wording.of(target, line), hint % wording.text(target)


def moved(target: str, has: str | None) -> Words:
    if has is None:
        line, old = _(b'it does not have that: it has none'), b"''"
    else:
        old = pycompat.sysbytes(has)
        line = _(b'it does not have that: it has %s') % wording.short(has)
    return wording.of(target, line), _(b'to go on from there: OLD = %s') % old


def busy(target: str, row: delegation.Delegation) -> Words:
    line = _(b'not delegated: delegation %d of %s is under way')
    line %= row.number, wording.whom(row)
    return wording.of(target, line), _(b'ask again when that has ended')


def no_delegation(id: bytes) -> Words:
    return _(b"there is no delegation '%s'") % _shown(id), LIST


def not_open(row: delegation.Delegation) -> Words:
    line = _(b'delegation %d is not running') % row.number
    hint = _(b'it ended: %s') % pycompat.sysbytes(row.state)
    return wording.of(row.target, line), hint


def goes_along(row: delegation.Delegation) -> Words:
    line = _(b'delegation %d goes along with delegation %d')
    hint = _(b'cancel delegation %d, which cancels both')
    return (
        wording.of(row.target, line % (row.number, row.merged_into)),
        hint % row.merged_into,
    )


def of_another(row: delegation.Delegation) -> Words:
    line = _(b'delegation %d is not one of that target') % row.number
    return line, _(b'it is one of %s') % wording.text(row.target)


def _shown(value: bytes) -> bytes:
    return stringutil.escapestr(value[:40])
