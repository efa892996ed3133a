# SPDX-License-Identifier: GPL-2.0-or-later
'''the mail about a delegation that went wrong, or works again

Mercurial sends it, as ``[email]`` and ``[smtp]`` say.
'''

from __future__ import annotations

import collections
import contextlib
import email.message
import email.policy
import email.utils
import getpass
import re
import socket
from collections.abc import Callable, Sequence

from mercurial import encoding, error, mail
from mercurial.i18n import _

from ..state import delegation, files, output_log
from . import wording

# how much of the output is in it
_LINES = 30
# in characters
_LONGEST_SUBJECT = 200

# what an SMTP server without extensions takes, with a host or without
_ADDRESS = re.compile(r'[!-~]+')
_COLOR = re.compile(rb'\x1b[^m]*m')


def compose(
    ui,
    paths: files.Paths,
    row: delegation.Delegation,
    recipients: Sequence[str],
    again: bool,
) -> email.message.EmailMessage:
    '''what ``recipients`` are told of ``row``; ``again``: it works again'''
    line, hints = wording.verdict(row)
    line += _(b', after it had gone wrong') if again else b''
    found = email.message.EmailMessage(policy=email.policy.SMTP)
    subject = f'{paths.name}: {row.target}: {_text(line)}'
    # no header goes on where somebody's line ends
    found['Subject'] = ' '.join(subject.split())[:_LONGEST_SUBJECT]
    found['From'] = _sender(ui)
    found['To'] = ', '.join(recipients)
    found['Date'] = email.utils.localtime()
    found['Message-ID'] = f'<{row.id}.{row.state}@{_host()}>'
    found['Auto-Submitted'] = 'auto-generated'
    body = [
        _(b'%s: %s') % (wording.text(row.target), line),
        *(b'(%s)' % hint for hint in hints if hint),
        b'',
        _(b'repository: %s') % wording.text(paths.root),
        _(b'changeset:  %s') % row.node.encode('ascii'),
        _(b'pushed by:  %s') % wording.whom(row),
    ]
    if lines := _output(paths.log(row.id)):
        body += [b'', _(b'the end of its output:'), b'']
        body += [b'  ' + encoding.tolocal(each) for each in lines]
    more = _(b"'hg delegate-log %d' in %s shows more")
    body += [b'', more % (row.number, wording.text(paths.root)), b'']
    found.set_content(_text(b'\n'.join(body)))
    return found


def _sender(ui) -> str:
    '''``email.from``, else the account that runs this. Raises error.Abort'''
    said = ui.config(b'email', b'from')
    if not said:
        return f'{getpass.getuser()}@{_host()}'
    name, address = email.utils.parseaddr(' '.join(_text(said).split()))
    if not _ADDRESS.fullmatch(address):
        raise error.Abort(_(b"email.from is not an address: '%s'") % said)
    return email.utils.formataddr((name, address))


def validate(ui) -> None:
    '''raise error.Abort if ``[email]`` says nothing that mail can be sent by'''
    mail.validateconfig(ui)
    _sender(ui)


def prepare(ui, message: email.message.EmailMessage) -> Callable[[], object]:
    '''what hands it over to what ``[email]`` names, which is reached by now

    Both raise error.Abort, OSError, and what smtplib does.
    '''
    validate(ui)
    to = message.get_all('To', [])
    tos = [address for _name, address in email.utils.getaddresses(to)]
    _name, from_ = email.utils.parseaddr(message['From'])
    send = mail.connect(ui)
    return lambda: send(from_, tos, message.as_bytes())


def _output(log: files.File) -> list[bytes]:
    '''the last lines of ``log``, without colour'''
    last: collections.deque[bytes] = collections.deque(maxlen=_LINES)
    without_log = contextlib.suppress(OSError)  # it has not begun
    with without_log, contextlib.closing(output_log.Reader(log)) as reader:
        while more := reader.read():
            last.extend(more.split(b'\n')[:-1])
    return [_COLOR.sub(b'', line) for line in last]


def _text(line: bytes) -> str:
    return encoding.fromlocal(line).decode('utf-8', 'replace')


def _host() -> str:
    return re.sub('[^A-Za-z0-9.-]', '', socket.getfqdn()) or 'localhost'
