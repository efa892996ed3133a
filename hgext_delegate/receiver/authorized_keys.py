# SPDX-License-Identifier: GPL-2.0-or-later
'''put the line that delegate-setup prints into this account's authorized_keys

The line is held to what such a line has: it must not give more to the server
account than one forced command. sshd(8), AUTHORIZED_KEYS FILE FORMAT.
'''

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import re
import secrets
import shlex
import stat
from collections.abc import Iterator

from .. import errors
from ..ssh import rfc4251

_TYPES = (
    'ssh-ed25519',
    'ecdsa-sha2-nistp256',
    'ecdsa-sha2-nistp384',
    'ecdsa-sha2-nistp521',
    'ssh-rsa',
)
# What takes rights away. All others give some back, or say who may log in.
_OPTIONS = ('restrict', 'command', 'from', 'expiry-time')
# As sshd reads it: a backslash means something before a quote alone.
_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:="((?:\\"|[^"\\]|\\(?!"))*)")?')
_MAX_BYTES = 1024 * 1024

_NAME = 'authorized_keys'
_REMEDY = "paste the line as 'hg delegate-setup' prints it, in single quotes"


class InstallError(errors.DelegateError):
    '''the line is not installed'''

    def __init__(self, reason: str, remedy: str = _REMEDY):
        super().__init__(reason, remedy)


def install(line: str) -> tuple[str, bool]:
    '''add ``line``; the path of the file, and whether it was not there yet

    All other lines stay as they are. Raises InstallError.
    '''
    key = parse(line)
    home = os.path.expanduser('~')
    path = os.path.join(home, '.ssh', _NAME)
    try:
        with _ssh_folder(home) as folder:
            old = _read(folder)
            new = added(old, line, key)
            if new is not None:
                _replace(folder, new)
    except OSError as exc:
        raise InstallError(
            'cannot write %s: %s' % (path, exc.strerror),
            'it and its folder must belong to this account and be no symbolic '
            'links',
        ) from None
    return path, new is not None


def parse(line: str) -> str:
    '''the key of ``line``: type and base64. Raises InstallError'''
    if re.search(r'[\r\n]', line.strip()):
        raise InstallError('the line has line breaks, and is one without')
    if not line.isprintable() or not line.isascii():
        raise InstallError('the line has characters that are not printable')
    options, rest = _options(line)
    for name in ('restrict', 'command'):
        if name not in options:
            raise InstallError("the line has no option '%s'" % name)
    for name, value in options.items():
        if bool(value) == (name == 'restrict'):
            raise InstallError('the value of %s is not right' % name)
    if ' --source URL ' in (options['command'] or ''):
        raise InstallError(
            'the line has URL where its source should be',
            'write what this account can pull from, as hg pull takes it',
        )
    words = rest.split()
    if len(words) < 2 or words[0] not in _TYPES:
        raise InstallError(
            'the line has no key of a type that is known here',
            'one of: %s' % ', '.join(_TYPES),
        )
    if not _is_key(*words[:2]):
        raise InstallError('the key of the line is damaged')
    return ' '.join(words[:2])


def command_of(line: str) -> list[str]:
    '''the words of its forced command, which parse() has agreed to'''
    command = (_options(line)[0]['command'] or '').replace('\\"', '"')
    try:
        return shlex.split(command)
    except ValueError:
        raise InstallError('the quotes in its command are damaged') from None


def _options(line: str) -> tuple[dict[str, str | None], str]:
    '''its options, and what follows them'''
    options: dict[str, str | None] = {}
    offset = 0
    while True:
        match = _OPTION.match(line, offset)
        name = match.group(1).lower() if match else ''
        if match is None or name not in _OPTIONS or name in options:
            raise InstallError(
                'the line has an option that does not belong there: %s'
                % ascii(line[offset : offset + 40]),
                'it may have each of %s once' % ', '.join(_OPTIONS),
            )
        options[name] = match.group(2)
        offset = match.end() + 1
        if line[match.end() : offset] == ' ':
            return options, line[offset:]
        if line[match.end() : offset] != ',':
            raise InstallError(
                'the options of the line are damaged',
                'a double quote within command="..." is written \\"; '
                + _REMEDY,
            )


def _is_key(type: str, text: str) -> bool:
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    # RFC 4253 6.6: the type once more, and the key
    start = rfc4251.pack(type.encode('ascii'))
    return blob.startswith(start) and len(blob) >= len(start) + 32


def added(old: bytes, line: str, key: str) -> bytes | None:
    '''``old`` with ``line`` after it; None if it is in there. Pure

    Raises InstallError if the key is there with something else.
    '''
    wanted = line.encode('ascii')
    mark = key.encode('ascii')
    for number, present in enumerate(old.split(b'\n'), 1):
        text = present.strip()
        if text == wanted.strip():
            return None
        # sshd takes the first line with a key, and never looks at another
        words = b' %s ' % b' '.join(text.split())
        if b' %s ' % mark in words and not text.startswith(b'#'):
            raise InstallError(
                'the key is in line %d of %s already, with other options'
                % (number, _NAME),
                'remove that line first',
            )
    if old and not old.endswith(b'\n'):
        old += b'\n'
    return old + wanted + b'\n'


@contextlib.contextmanager
def _ssh_folder(home: str) -> Iterator[int]:
    '''a descriptor of ~/.ssh, which is this account's alone, and locked'''
    flags = os.O_RDONLY | os.O_DIRECTORY
    above = os.open(home, flags)
    try:
        if os.fstat(above).st_uid != os.geteuid():
            raise InstallError(
                '%s does not belong to this account' % home,
                'run this as the deploy account with its own HOME: '
                'sudo -H -u ACCOUNT',
            )
        with contextlib.suppress(FileExistsError):
            os.mkdir('.ssh', 0o700, dir_fd=above)
        folder = os.open('.ssh', flags | os.O_NOFOLLOW, dir_fd=above)
    finally:
        os.close(above)
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            raise PermissionError(0, 'the folder belongs to another account')
        os.fchmod(folder, 0o700)
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _read(folder: int) -> bytes:
    '''what the file has; none where there is none. It becomes 0600'''
    # O_NONBLOCK: a FIFO there is refused, not waited for
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(_NAME, flags, dir_fd=folder)
    except FileNotFoundError:
        return b''
    with open(fd, 'rb') as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(0, 'it is not a file of this account')
        data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise OSError(0, 'it has more than %d bytes' % _MAX_BYTES)
        os.fchmod(fd, 0o600)
        return data


def _replace(folder: int, data: bytes) -> None:
    '''put ``data`` in its place: as a whole, or not at all'''
    new = '%s.%s' % (_NAME, secrets.token_hex(8))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    fd = os.open(new, flags, 0o600, dir_fd=folder)
    try:
        with open(fd, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(new, _NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(new, dir_fd=folder)
        raise
    os.fsync(folder)
