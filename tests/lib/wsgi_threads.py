"""Serve a web.conf by hgweb with a thread for each request.

    wsgi_threads.py CONFIG PORT

Without Mercurial's lazy imports, which in Python 3.11.2 are not made for
threads: of 40 first requests at once 15 end with an AttributeError.
"""

from __future__ import annotations

import socketserver
import sys
from wsgiref import simple_server

from mercurial.hgweb import hgweb


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    request_queue_size = 100


if __name__ == '__main__':
    application = hgweb(sys.argv[1].encode())
    simple_server.make_server(
        '127.0.0.1', int(sys.argv[2]), application, Server
    ).serve_forever()
