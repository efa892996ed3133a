# SPDX-License-Identifier: GPL-2.0-or-later
'''strings and numbers as SSH writes them (RFC 4251 5)

Keys, certificates and messages are made of them.
'''

from __future__ import annotations

import struct


class DamagedError(ValueError):
    '''the bytes are not what they should be'''


def number(data: bytes) -> int:
    '''the uint32 that ``data`` is. Raises DamagedError'''
    if len(data) != 4:
        raise DamagedError('a number has 4 bytes')
    return int.from_bytes(data, 'big')


def pack_number(*values: int) -> bytes:
    return struct.pack(f'>{len(values)}I', *values)


def pack(*texts: bytes | memoryview) -> bytes:
    '''each of ``texts`` as a string'''
    return b''.join(
        part for text in texts for part in (pack_number(len(text)), text)
    )


def split(data: bytes) -> tuple[bytes, bytes]:
    '''the string that ``data`` begins with, and the rest

    Raises DamagedError.
    '''
    end = 4 + number(data[:4])
    if end > len(data):
        raise DamagedError('a string has no end')
    return data[4:end], data[end:]


def string(data: bytes) -> bytes:
    '''the string that ``data`` is. Raises DamagedError'''
    text, rest = split(data)
    if rest:
        raise DamagedError('a string has something behind it')
    return text


def strings(data: bytes) -> list[bytes]:
    '''the strings that fill ``data``. Raises DamagedError'''
    found = []
    while data:
        text, data = split(data)
        found.append(text)
    return found
