"""Serving until the user ends it."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

import click


def serve_until_interrupted(server: WSGIServer, url: str, open_browser: bool) -> None:
    """Print the address, open it in a browser if that is asked for, and serve until Ctrl-C."""
    click.echo(f"{url}\nCtrl-C ends it")
    if open_browser:
        click.launch(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
