"""Servers for this machine alone: bound to the loopback address, and closed to pages that come from elsewhere."""

from __future__ import annotations

from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from permgrad.errors import PermGradError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = 60  # seconds that a client may be silent

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for the address."""


def loopback_server(application: Any, port: int) -> WSGIServer:
    """Return a server of a WSGI application, bound to the loopback address; ``serve_forever()`` starts it.

    Parameters
    ----------
    application : WSGI application
    port : int
        0 takes any free port.

    Raises
    ------
    PermGradError
        If the port is taken.
    """
    try:
        return make_server(LOOPBACK, port, _loopback_only(application), _Server, _QuietHandler)
    except OSError as error:
        raise PermGradError(f"cannot listen on port {port}: {error.strerror}; choose another --port") from error


def _loopback_only(application: Any) -> Any:
    """Refuse requests that name another host: a page elsewhere could have its own name lead to this machine."""

    def checked(environ: dict[str, Any], start_response: Any) -> Any:
        host = environ.get("HTTP_HOST", "").rsplit(":", 1)[0]
        if host in LOOPBACK_NAMES:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"open http://{LOOPBACK} instead\n".encode()]

    return checked
