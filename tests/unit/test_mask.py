"""Secrets of the environment are taken out of what a script prints."""

from __future__ import annotations

import itertools

import pytest

from hgext_delegate.receiver import mask as maskmod

pytestmark = pytest.mark.once


def masked(environ: dict[str, str], *pieces: bytes) -> bytes:
    came: list[bytes] = []
    mask = maskmod.Mask(environ, came.append)
    for piece in pieces:
        mask.feed(piece)
    mask.close()
    return b''.join(came)


def test_a_secret_is_found_wherever_the_output_is_cut() -> None:
    environ = {'DB_PASSWORD': 's3s3cret', 'my_token': 'a\nb.c', 'STAGE': 'live'}
    data = b'x s3s3s3cret a\nb.c live s3s3'
    for one, two in itertools.combinations(range(len(data)), 2):
        pieces = (data[:one], data[one:two], data[two:])
        assert masked(environ, *pieces) == b'x s3*** *** live s3s3'


def test_the_longer_of_two_is_taken_out_whole() -> None:
    environ = {'KEY': 'abcd', 'KEY_2': 'abcdefgh', 'SECRET': ''}
    assert masked(environ, b'abcdefgh abcd') == b'*** ***'


def test_without_secrets_and_for_short_ones_all_is_handed_on_at_once() -> None:
    for environ in ({}, {'KEY': 'yes'}, {'STAGE': 'token'}):
        came: list[bytes] = []
        maskmod.Mask(environ, came.append).feed(b'yes token')
        assert came == [b'yes token']


def test_what_cannot_be_a_secret_is_not_held() -> None:
    came: list[bytes] = []
    mask = maskmod.Mask({'KEY': 'secret'}, came.append)
    mask.feed(b'building\n')
    assert came == [b'building\n']
    mask.feed(b'sec')
    assert came == [b'building\n']
    mask.feed(b'ond\n')
    assert b''.join(came) == b'building\nsecond\n'
