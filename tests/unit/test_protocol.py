"""A shell that is fed the object by mistake runs nothing of it."""

from __future__ import annotations

import json
import subprocess
import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hgext_delegate import protocol

ROW = types.SimpleNamespace(
    id='ab' * 16, name='blog', node='12' * 20, previous=None, attempt=1
)
PIECES = st.sampled_from(
    [
        *('$(>ran)', '`>ran`', '"', '\\', '\\"', "'", ';>ran;', '\n', '!', '$'),
        *('&', '|', '>ran', '\\\n', '{', '}', '(', ')', '#', ' ', '\u201d'),
        *('${x:=', '$((', "$'", '<<', '%PATH%', '\x00', '\x7f', '\x1b'),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map(''.join)


def composed(name: str) -> bytes:
    push = {'heads': [{'branch': name}], 'bookmarks': {name: [None, None]}}
    place = {'name': name, 'root': name}
    return protocol.compose(
        ROW, place, ROW, [{**push, 'variables': {name: name}}]
    )


@pytest.mark.parametrize('shell', ['sh', 'bash', 'dash'])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=TEXTS)
def test_a_shell_runs_nothing_of_the_object(
    tmp_path: Path, shell: str, name: str
) -> None:
    line = composed(name)
    subprocess.run(
        [shell], input=line, cwd=tmp_path, capture_output=True, check=False
    )
    assert not list(tmp_path.iterdir())
    told = json.loads(line)
    assert told['repository'] == {'name': name, 'root': name}
    assert told['pushes'][0]['variables'] == {name: name}


@given(name=TEXTS)
def test_nothing_that_shells_act_on_stands_in_it(name: str) -> None:
    text = composed(name).decode('ascii')
    assert not set('$`!') & set(text)
    assert '\\"' not in text
    assert '\\\\' not in text


@pytest.mark.parametrize('shell', ['sh', 'bash', 'dash'])
def test_a_shell_would_run_what_plain_json_holds(
    tmp_path: Path, shell: str
) -> None:
    plain = json.dumps({'branch': '$(>ran)'}).encode()
    subprocess.run(
        [shell], input=plain, cwd=tmp_path, capture_output=True, check=False
    )
    assert [path.name for path in tmp_path.iterdir()] == ['ran']
