# SPDX-License-Identifier: GPL-2.0-or-later
'''hg help delegate.TOPIC: the texts of the folder help/

They are subtopics, as Mercurial's own ``internals`` are, since 'delegate'
alone is the command. The manual in docs/ and the man page have them too.
'''

from __future__ import annotations

import functools
import os

from mercurial import help as helpmod
from mercurial.i18n import _, gettext

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FOLDER = os.path.join(_PACKAGE, 'help')

TOPICS = (
    (b'config', _(b'Configuring what a push delegates')),
    (b'protocol', _(b'What the deploy account is asked and told')),
    (b'states', _(b'What becomes of a delegation')),
    (b'messages', _(b'What the pusher sees, and what to do about it')),
)


def install() -> None:
    '''let ``hg help`` know the topics'''
    helpmod.subtopics[b'delegate'] = [
        ([name], header, functools.partial(_load, name))
        for name, header in TOPICS
    ]


def _load(name: bytes, ui) -> bytes:
    with open(os.path.join(os.fsencode(_FOLDER), name + b'.txt'), 'rb') as file:
        return gettext(file.read())
