"""Web servers that run hgweb as the server account."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import accounts
import pytest
import servers
from repositories import Repository
from world import World

# As Mercurial's own example has it.
APPLICATION = """\
from mercurial import demandimport; demandimport.enable()
from mercurial.hgweb import hgweb
application = hgweb({config!r})
"""
# Only alice gets through, as far as hgweb knows by the server's own means.
PASSWORD = """\
import base64
hgweb, allowed = application, base64.b64encode(b'alice:secret').decode()

def application(environ, start_response):
    if environ.get('HTTP_AUTHORIZATION') != 'Basic ' + allowed:
        ask = [('WWW-Authenticate', 'Basic realm="hg"')]
        start_response('401 Unauthorized', ask)
        return []
    return hgweb({**environ, 'REMOTE_USER': 'alice'}, start_response)
"""
APACHE = """\
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {home}/apache.pid
ErrorLog {home}/apache.log
DefaultRuntimeDir {home}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
"""
WSGI = """\
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
LoadModule wsgi_module {modules}/mod_wsgi.so
WSGISocketPrefix {home}/wsgi
WSGIDaemonProcess hg threads=4 shutdown-timeout=1 python-home={prefix}
WSGIProcessGroup hg
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {home}/wsgi.py
<Directory {home}>
{require}
</Directory>
"""
LOGIN = """AuthType Basic
AuthName hg
AuthUserFile {home}/users
Require valid-user
"""
CGI = """\
LoadModule cgid_module {modules}/mod_cgid.so
LoadModule alias_module {modules}/mod_alias.so
ScriptSock {home}/cgid
ScriptAlias / {home}/hgweb.cgi/
<Directory {home}>
Require all granted
</Directory>
"""
# As Mercurial's own example has it.
CGI_SCRIPT = """\
#!{python}
from mercurial import demandimport; demandimport.enable()
from mercurial.hgweb import hgweb, wsgicgi
wsgicgi.launch(hgweb({config!r}))
"""
LIGHTTPD = """\
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{home}/cgi"
server.errorlog = "{home}/lighttpd.log"
server.pid-file = "{home}/lighttpd.pid"
server.modules = ("mod_cgi")
server.stream-response-body = 1
cgi.assign = (".cgi" => "")
"""
PROXY = """\
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule headers_module {modules}/mod_headers.so
RequestHeader set X-Forwarded-User alice
ProxyPass / {inner}/
"""
NGINX = """\
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/nginx.log;
events {{}}
http {{
    access_log off;
    gzip on;
    gzip_types text/plain;
    gzip_min_length 1;
    client_body_temp_path {home}/nginx-body;
    proxy_temp_path {home}/nginx-proxy;
    fastcgi_temp_path {home}/nginx-fastcgi;
    uwsgi_temp_path {home}/nginx-uwsgi;
    scgi_temp_path {home}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port};
        location /hg/ {{ proxy_pass {inner}/hg/; {more} }}
    }}
}}
"""
MODULES = '/usr/lib/apache2/modules'


def application(
    world: World, repository: Repository, more: str = '', conf: str = ''
) -> None:
    """Write ~/wsgi.py, which serves REPOSITORY, with MORE in it, and with CONF
    in the file that hgweb reads."""
    path = world.web_conf([repository])
    world.server.write(path, path.read_text('utf-8') + conf)
    text = APPLICATION.format(config=bytes(path))
    world.server.write('wsgi.py', text + more)


@contextlib.contextmanager
def served(
    world: World,
    repository: Repository,
    *command: str,
    more: str = '',
    conf: str = '',
) -> Iterator[str]:
    """Serve REPOSITORY by COMMAND as the server account; its URL. MORE and
    CONF are for application()."""
    application(world, repository, more, conf)
    port = servers.free_port()
    words = [word.replace('ADDRESS', f'127.0.0.1:{port}') for word in command]
    with world.http([world.python, *words], port) as url:
        yield f'{url}/{repository.path.name}'


@contextlib.contextmanager
def hg_serve(world: World, repository: Repository) -> Iterator[str]:
    with world.hgweb([repository]) as url:
        yield f'{url}/{repository.path.name}'


def gunicorn(
    world: World,
    repository: Repository,
    *options: str,
    password: bool = False,
    conf: str = '',
) -> contextlib.AbstractContextManager[str]:
    command = ['-m', 'gunicorn', '--chdir', '.', '--bind', 'ADDRESS']
    command += [*options, 'wsgi:application']
    more = PASSWORD if password else ''
    return served(world, repository, *command, more=more, conf=conf)


def waitress(
    world: World, repository: Repository, *options: str
) -> contextlib.AbstractContextManager[str]:
    command = ['-m', 'waitress', '--listen=ADDRESS', *options]
    return served(world, repository, *command, 'wsgi:application')


def uwsgi(
    world: World, repository: Repository, *options: str
) -> contextlib.AbstractContextManager[str]:
    command = ['-c', 'import pyuwsgi; pyuwsgi.run()', '--http-socket']
    command += ['ADDRESS', '--wsgi', 'wsgi', '--die-on-term', *options]
    # what the program uwsgi says, which pyuwsgi is not
    more = "import sys\nsys.executable = '/usr/bin/uwsgi-core'\n"
    return served(world, repository, *command, more=more)


@contextlib.contextmanager
def uwsgi_of_root(
    world: World, repository: Repository, *options: str, home: str = '/root'
) -> Iterator[str]:
    """uWSGI that root starts with HOME, and that then becomes the server
    account."""
    if not accounts.ROOT:
        pytest.skip('only root can start a server that changes its account')
    application(world, repository)
    port, name = servers.free_port(), world.server.name
    command = [world.python, '-c', 'import pyuwsgi; pyuwsgi.run()', '--master']
    command += ['--http-socket', f'127.0.0.1:{port}', '--die-on-term']
    command += ['--uid', name, '--gid', name, '--chdir', str(world.server.home)]
    command += ['--wsgi', 'wsgi', *options]
    root = accounts.Account('root', Path(home), 0, 0)
    log = world.server.write(f'{port}.log', '')
    with servers.http(root, command, port, log) as url:
        yield f'{url}/{repository.path.name}'


@contextlib.contextmanager
def started_apache(world: World, configuration: str) -> Iterator[str]:
    """Debian's Apache as the server account; its URL."""
    if not shutil.which('dpkg'):
        pytest.skip('this is no Debian')
    home, port = world.server.home, servers.free_port()
    text = APACHE.format(port=port, home=home, modules=MODULES)
    conf = world.server.write('apache.conf', text + configuration)
    command = ['/usr/sbin/apache2', '-DFOREGROUND', '-d', str(home)]
    with world.http([*command, '-f', str(conf)], port) as url:
        yield url


@contextlib.contextmanager
def apache(
    world: World, repository: Repository, *, password: bool = False
) -> Iterator[str]:
    """Apache with mod_wsgi; with PASSWORD it lets alice in alone."""
    home = world.server.home
    application(world, repository)
    digest = base64.b64encode(hashlib.sha1(b'secret').digest()).decode()
    world.server.write('users', f'alice:{{SHA}}{digest}\n')
    text = WSGI.format(
        home=home,
        modules=MODULES,
        prefix=Path(world.python).parent.parent,
        require=LOGIN.format(home=home) if password else 'Require all granted',
    )
    with started_apache(world, text) as url:
        yield f'{url}/{repository.path.name}'


def cgi_script(world: World, repository: Repository, path: str) -> None:
    config = bytes(world.web_conf([repository]))
    text = CGI_SCRIPT.format(python=world.python, config=config)
    world.server.write(path, text, 0o755)


@contextlib.contextmanager
def cgi(world: World, repository: Repository) -> Iterator[str]:
    """Apache with mod_cgid: a process for each request."""
    cgi_script(world, repository, 'hgweb.cgi')
    text = CGI.format(home=world.server.home, modules=MODULES)
    with started_apache(world, text) as url:
        yield f'{url}/{repository.path.name}'


@contextlib.contextmanager
def lighttpd(world: World, repository: Repository) -> Iterator[str]:
    """lighttpd with mod_cgi, as docs/http.rst has it."""
    program = '/usr/sbin/lighttpd'
    if not shutil.which(program):
        pytest.skip('there is no lighttpd here (apt-get install lighttpd)')
    cgi_script(world, repository, 'cgi/hgweb.cgi')
    port = servers.free_port()
    text = LIGHTTPD.format(home=world.server.home, port=port)
    conf = world.server.write('lighttpd.conf', text)
    with world.http([program, '-D', '-f', str(conf)], port) as url:
        yield f'{url}/hgweb.cgi/{repository.path.name}'


@contextlib.contextmanager
def proxy(world: World, repository: Repository) -> Iterator[str]:
    """Apache as a proxy in front of gunicorn, to which each is alice."""
    with gunicorn(world, repository, '--worker-class', 'gthread') as url:
        inner, _slash, name = url.rpartition('/')
        text = PROXY.format(modules=MODULES, inner=inner)
        with started_apache(world, text) as outer:
            yield f'{outer}/{name}'


@contextlib.contextmanager
def nginx(
    world: World, repository: Repository, more: str = ''
) -> Iterator[str]:
    """nginx as a proxy in front of hg serve, both with the prefix /hg, with
    MORE in its location."""
    program = '/usr/sbin/nginx'
    if not shutil.which(program):
        pytest.skip('there is no nginx here')
    web, inner = world.web_conf([repository]), servers.free_port()
    command = [*world.hg, 'serve', '--web-conf', str(web), '--prefix', 'hg']
    command += ['--address', '127.0.0.1', '--port', str(inner)]
    home, port = world.server.home, servers.free_port()
    with world.http(command, inner) as url:
        text = NGINX.format(home=home, port=port, inner=url, more=more)
        conf = world.server.write('nginx.conf', text)
        with world.http([program, '-c', str(conf)], port) as outer:
            yield f'{outer}/hg/{repository.path.name}'
