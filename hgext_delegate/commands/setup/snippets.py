# SPDX-License-Identifier: GPL-2.0-or-later
'''what is pasted into an authorized_keys and an hgrc

Pure. Whatever stands in a value, these lines mean what they should: a value
that cannot be written there is refused.
'''

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from ... import errors


def authorized_key(
    sources: Sequence[str], command: str, public: str, comment: str
) -> str:
    '''the line that lets ``public`` run ``command``, and nothing else

    It must come from one of the addresses ``sources``, if there are any.
    sshd(8), AUTHORIZED_KEYS FILE FORMAT. Raises DelegateError.
    '''
    check(command)
    options = ['restrict']
    if sources:
        options.append('from="%s"' % ','.join(sources))
    # A backslash stands for itself, but before a quote.
    options.append('command="%s"' % command.replace('"', '\\"'))
    return '%s %s %s' % (','.join(options), public, comment)


def check(command: str) -> None:
    '''raise DelegateError for a forced command that cannot be written'''
    # A backslash at the end would take its meaning from the quote after it.
    if not is_plain(command) or command.endswith('\\'):
        raise errors.DelegateError(
            'the command %s cannot stand in an authorized_keys'
            % ascii(command),
            'only printable ASCII without a backslash at the end can: use a '
            'script',
        )


def is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def comment(target: str, repository: str) -> str:
    '''one word that says whose key it is'''
    word = re.sub('[^A-Za-z0-9._-]+', '_', repository)
    return 'delegate:%s@%s' % (target, word)


def receiver(
    hg: str,
    extension: tuple[str, str],
    name: str,
    source: str,
    box: bool = False,
    run: str = './deploy.sh',
) -> str:
    '''the forced command that is our receiver, for a shell

    ``extension`` is the name and the value under which it is enabled; with
    ``box`` it shuts the script in.
    '''
    words = [
        # no shell between sshd and it: some would not pass a signal on
        *('exec', hg),
        *('--config', 'extensions.%s=%s' % extension),
        *('delegate-receive', '--clone'),
    ]
    clone = '~/%s' % name  # the shell's ~, and a name that needs no quotes
    more = ['--source', source, '--run', run, *['--box'] * box]
    return ' '.join([shlex.join(words), clone, shlex.join(more)])


def is_receiver(command: str) -> bool:
    return 'delegate-receive' in command.split()


def hgrc(sections: dict[str, dict[str, str]]) -> str:
    '''an hgrc with ``sections`` and their items. Raises DelegateError'''
    lines = []
    for section, items in sections.items():
        lines.append('[%s]' % section)
        for name, value in items.items():
            # A value ends with its line, and has no spaces around it.
            if not value.isprintable() or value != value.strip():
                raise errors.DelegateError(
                    'the value %s of %s cannot stand in an hgrc'
                    % (ascii(value), name),
                    'XDG_CONFIG_HOME can name a folder with a plainer name',
                )
            lines.append(('%s = %s' % (name, value)).rstrip())
        lines.append('')
    return '\n'.join(lines)
