"""hg delegate-log in columns, in colours, and for programs."""

from __future__ import annotations

import json
import re

from delegations import every_state, log
from hgrc import targets
from pushes import serve
from repositories import Clone, Repository
from world import World

FIELDS = (
    '{id} {target} {state} {node} {pusher} {date|isodate} {seconds} {status}'
    ' {reason}\n'
)


def test_the_newest_come_first_each_on_a_line(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    with every_state(world, repository):
        said = repository.hg('delegate-log').stdout.decode()
    when = r'  \d{4}-\d\d-\d\d \d\d:\d\d'
    for line, (number, state, remarks) in zip(
        said.splitlines()[1:],
        [
            (7, 'cancelled ', '  cancelled by bob'),
            (6, 'superseded', '  by 3'),
            (5, 'lost      ', '  1.0 s  connection closed'),
            (4, 'failed    ', '  1.0 s  exit status 3'),
            (3, 'succeeded ', '  2.1 s'),
            (2, 'running   ', '  N s of usually 2.1 s'),
            (1, 'pending   ', ''),
        ],
    ):
        who = '  alice     ' if number > 1 else '  -         '
        start = f'    {number}  blog        {state}  {"0" * 12}{who}'
        remarks = re.escape(remarks).replace('N', r'\d+')
        assert re.fullmatch(re.escape(start) + when + remarks, line)
    assert said.count('\n') == 8


def test_it_is_for_templates(world: World, repository: Repository) -> None:
    repository.hgrc(targets(world))
    with every_state(world, repository):
        said = repository.hg('delegate-log', '-T', FIELDS).stdout.decode()
        rows = log(repository)
        by = repository.hg('delegate-log', '-T', '{taken},').stdout
        (one,) = log(repository, '3')
    lines = said.splitlines()
    when = r'\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d{4}'
    node = f'{4:040}'
    expected = f'4 blog failed {node} alice {when} 1.0 3 exit status 3'
    assert re.fullmatch(expected, lines[3])
    assert re.fullmatch(f'1 blog pending {1:040}  {when}   ', lines[6])
    assert by == b',3,,,,,,'
    assert [row['id'] for row in rows] == [7, 6, 5, 4, 3, 2, 1]
    for key in ('pusher', 'seconds', 'status', 'signal', 'taken'):
        assert rows[6][key] is None
    assert rows[0]['stopper'] == 'bob' and rows[1]['stopper'] is None
    assert rows[1]['taken'] == 3 and rows[3]['status'] == 3
    assert rows[4]['node'] == f'{3:040}' and rows[4]['seconds'] == 2.125
    assert one == dict(rows[4], output='')


def test_json_is_valid_whatever_there_is(
    world: World, repository: Repository, clone: Clone
) -> None:
    assert log(repository) == []
    # and nothing was made to find that out
    assert not (repository.path / '.hg' / 'delegate').exists()
    repository.hgrc(targets(world, more='user-variables = WHO\n'))
    serve(world, r"""WHO='Zoë "\ $(id)'""")
    world.forced_command('. ./record\nprintf "gr\\303\\274n \\033[31mred\\n"\n')
    clone.commit()
    clone.push()
    for encoding in ('UTF-8', 'ascii'):
        env = {'HGENCODING': encoding}
        said = repository.hg('delegate-log', '1', '-Tjson', env=env).stdout
        (row,) = json.loads(said)
        assert row['pusher'] == r'Zoë "\ $(id)'
        assert row['output'].startswith('grün ')
        assert row['reason'] == '' and row['previous'] is None
    latin = {'HGENCODING': 'latin-1'}
    for args in ([], ['-T', '{pusher} {output}']):
        said = repository.hg('delegate-log', '1', *args, env=latin).stdout
        assert b'Zo\xeb ' in said and b'gr\xfcn ' in said
    said = repository.hg('delegate-log', env={'HGENCODING': 'ascii'}).stdout
    assert rb'Zo? "\ $(id)' in said


def test_each_state_has_its_colour(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    color = ['--config', 'color.mode=ansi', '--color=always']
    with every_state(world, repository):
        labels = repository.hg('delegate-log', '--color=debug').stdout
        colours = repository.hg('delegate-log', *color).stdout.decode()
    expected = {
        'pending': '0;33',
        'running': '0;36',
        'succeeded': '0;32',
        'failed': '0;31;1',
        'lost': '0;35;1',
        'superseded': '0;0',
        'cancelled': '0;33',
    }
    for state, colour in expected.items():
        label = f'[delegate.state delegate.state.{state}|{state}'
        assert label in labels.decode()
        assert f'\x1b[{colour}m{state:10}\x1b[0m' in colours
