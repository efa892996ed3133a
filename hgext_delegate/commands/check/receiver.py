# SPDX-License-Identifier: GPL-2.0-or-later
'''whether the receiver answers, and could begin with a deploy

It is asked for the status of an id that never was, and to look whether it
could pull. A forced command that is no receiver would run for that: only a
target with ``receiver = yes`` is asked.
'''

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mercurial.i18n import _
from mercurial.utils import procutil

from ... import imports, protocol
from ...config import targets
from ...delivery import connection, evaluation
from ...push import selection
from ...report import wording
from ...ssh import session
from . import finding

Findings = Iterator[finding.Finding]

# How long the answer may take, in seconds.
_PATIENCE = 30.0
# in bytes, in characters of a line
_MOST_SAID = 64 * 1024
_LONGEST = 300

_NO_EXTENSION = re.compile('.*(?:hgext_delegate|command .delegate-receive)')
_NO_CHG = re.compile('chg: abort: .*|.*\\bchg.*(?:not found|No such file).*')
_NO_HG = re.compile('.*(?:not found|No such file|[Mm]ercurial|interpreter)')
# how the receiver, and hg, say what is wrong; the next line is what to do
_SAID = re.compile('(?:delegate-receive: |abort: |(?=config error))(.+)')


def check(
    repo, target: targets.Target, user: str, bars: Sequence[finding.Finding]
) -> Findings:
    '''what the receiver of ``user`` has to say

    ``bars`` are what keeps it from pulling from the repository itself, on the
    same machine, from which it may not pull.
    '''
    about = finding.of(target.name, b'receiver')
    try:
        status, said = _ask(target)
    except session.SessionError as error:
        line = _(b'the receiver of %s does not answer: %s')
        line %= wording.text(user), wording.text(error.reason)
        remedy = _(b"it is asked for what 'hg help delegate.protocol' says")
        yield about.error(line, wording.text(error.remedy) or remedy)
        return
    try:
        answer = protocol.parse_named(said)
    except protocol.RequestError:
        yield _unanswered(about, user, status, said)
        return
    if 'problem' not in answer:
        line = _(b'the receiver of %s answers, and can pull')
        if 'run' not in answer:  # it is of an older version
            line = _(b'the receiver of %s answers')
            yield from bars
        yield about.ok(line % wording.text(user))
    elif bars:
        yield from bars
    else:
        line, remedy = (_short(answer.get(k)) for k in ('problem', 'remedy'))
        line = _(b'the receiver of %s: %s') % (wording.text(user), line)
        yield about.error(line, remedy)
    yield from _script(repo, about, target, answer.get('run'))
    yield from _kept(finding.of(target.name, b'account'), user, answer)


def _kept(
    about: finding.About, user: str, answer: Mapping[str, Any]
) -> Findings:
    '''whether what is run can keep the account; older versions do not say'''
    name = wording.text(user)
    kind = answer.get('box')
    if kind == 'yes':
        line = _(b'what is run there is in a box, and cannot keep the account')
        yield about.ok(line)
    elif kind == 'leaky':
        line = _(b'from the box abstract sockets of %s can be reached')
        remedy = _(b'Linux 6.12 prevents that; or add --no-network')
        yield about.warning(line % name, remedy)
    elif kind == 'no' and str(answer.get('run')).startswith('./'):
        line = _(b'who may push can keep the account %s: there is no box')
        remedy = _(b"add --box to command= of its line in %s's authorized_keys")
        yield about.warning(line % name, remedy % name)
    elif kind == 'no':
        line = _(b'what is run there is in no box, and can keep the account')
        yield about.ok(line)


def _ask(target: targets.Target) -> tuple[int | None, bytes]:
    '''exit status and output. Raises SessionError'''
    id = secrets.token_hex(16)
    said = bytearray()

    def receive(stream: int, data: bytes) -> None:
        said.extend(data[: _MOST_SAID - len(said)])

    with connection.connect(target) as opened:
        end = opened.execute(
            *protocol.compose_named(
                protocol.STATUS, target.name, id, check=True
            ),
            receive,
            lambda: None,
            idle_timeout=_PATIENCE,
            timeout=_PATIENCE,
        )
    return end.status, bytes(said)


def _short(value: Any) -> bytes:
    return wording.text(str(value or '')[:_LONGEST])


def _unanswered(
    about: finding.About, user: str, status: int | None, said: bytes
) -> finding.Finding:
    '''what it means that ``said`` is no answer'''
    text = said.decode('utf-8', 'replace')
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # That account's own line, where what runs is said.
    where = _(b"command= of its line in %s's authorized_keys")
    where %= wording.text(user)
    if why := _first(_SAID, lines):
        shown = why[1]
        hint = ''.join(lines[lines.index(why.string) + 1 :][:1]).strip('()')
        remedy = _short(hint) or _(b'correct that; or %s') % where
    elif why := _first(_NO_CHG, lines):
        shown = why[0]
        remedy = _(b'correct how chg is started, or use hg, in %s') % where
    elif why := _first(_NO_EXTENSION, lines):
        shown = why[0]
        remedy = _(b'install hg-delegate for its hg; or add to hg in %s: %s')
        remedy %= where, _extension(user)
    elif status in (126, 127) or _first(_NO_HG, lines):
        shown = lines[-1] if lines else 'exit status %s' % status
        remedy = _(b'install Mercurial there; or name it in %s as %s')
        remedy %= where, procutil.hgexecutable()
    else:
        shown = lines[-1] if lines else 'exit status %s' % status
        remedy = _(b"if it is not hg delegate-receive, take '%s:receiver' out")
        remedy %= about.target
    line = _(b'the forced command of %s does not answer as the receiver: %s')
    return about.error(line % (wording.text(user), _short(shown)), remedy)


def _first(pattern: re.Pattern[str], lines: Sequence[str]) -> re.Match | None:
    return next(filter(None, map(pattern.match, lines)), None)


def _extension(user: str) -> bytes:
    '''how it is enabled from where this process has it'''
    (place,) = imports.extension().__path__
    return b'--config extensions.hgext_delegate=%s' % os.fsencode(place)


def _script(
    repo, about: finding.About, target: targets.Target, program: Any
) -> Findings:
    '''whether the newest changeset has what the receiver runs of it'''
    if not isinstance(program, str) or not program.startswith('./'):
        return
    path = os.fsencode(posixpath.normpath(program))
    try:
        revs = selection.eligible(repo, target.trigger)
        node = evaluation.Evaluator().newest(repo, target, revs)
    except selection.REVSET_ERRORS:
        return  # which is said elsewhere
    if node is None or any(
        path.startswith(each + b'/')
        for each in repo.unfiltered()[node].substate
    ):
        return
    changeset = repo.unfiltered()[node]
    shown = wording.text(program), wording.short(node)
    if path not in changeset:
        line = _(b'the receiver runs %s, which is not in the changeset %s')
        remedy = _(b'commit and push it; or correct --run in %s')
        where = _(b'its line in authorized_keys')
        yield about.error(line % shown, remedy % where)
    elif not changeset.flags(path):
        line = _(b'the receiver runs %s, which cannot be run in %s')
        remedy = _(b'in a clone: chmod +x %s; then commit and push that')
        yield about.error(line % shown, remedy % shown[0])
