"""What threads share is loaded before they start."""

from __future__ import annotations

from world import World

# Names the modules that a thread could be the first to use.
PROBE = """
import importlib.util, sys
from mercurial import extensions, registrar
cmdtable = {}
command = registrar.command(cmdtable)
lazy = importlib.util._LazyModule
@command(b'probe', norepo=True)
def probe(ui):
    ours = extensions.find(b'hgext_delegate')
    with ours.imports.complete():
        importlib.import_module(ours.__name__ + '.extension.push_hooks')
        importlib.import_module(ours.__name__ + '.delivery.worker')
    for name, module in sorted(sys.modules.items()):
        if type(module) is lazy and name.startswith(ours.__name__):
            ui.write(b'%s\\n' % name.encode())
        if name.startswith((ours.__name__, 'paramiko')):
            for key, value in sorted(vars(module).items()):
                if type(value) is lazy:
                    ui.write(b'%s: %s\\n' % (name.encode(), key.encode()))
    ui.write(b'looked\\n')
"""


def test_no_module_is_left_for_a_thread_to_load(world: World) -> None:
    probe = world.server.write('probe.py', PROBE)
    said = world.server.run(
        [
            *world.hg,
            *('--config', f'extensions.hgext_delegate={world.extension}'),
            *('--config', f'extensions.probe={probe}'),
            'probe',
        ]
    )
    assert said.stdout == b'looked\n'
