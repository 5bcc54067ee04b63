"""The HTTP server of a node's metrics, which nobody can make the node pay much for.

A node has few scrapers, and whoever is connected costs it a thread and a file descriptor. So there are few places, and
where all are taken the connection that has been there longest makes way: whoever says nothing, or reads nothing, keeps
nobody from being served.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from socketserver import ThreadingMixIn
from threading import Lock
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from impl.transport import Address

PLACES = 8
"""Connections that are served at a time."""


class Scrapers(ThreadingMixIn, WSGIServer):
    """Serves each connection by a thread, a few at a time. (Any: socketserver has no better types.)"""

    daemon_threads = True
    """They end with the process, whatever they wait for."""
    request_queue_size = 128
    """Of connections that were not looked at yet: with socketserver's five, who comes in a crowd waits for seconds."""

    def __init__(self, address: Address, app: WSGIApplication) -> None:
        """Take the port. Raises OSError."""
        self.address_family, *_, where = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._served: dict[socket.socket, None] = {}
        self._lock = Lock()
        super().__init__((str(where[0]), address.port), Scraper)
        self.set_app(app)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one more; the oldest makes way."""
        with self._lock:
            if len(self._served) >= PLACES:
                oldest = next(iter(self._served))
                del self._served[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._served[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It was served."""
        with self._lock:
            self._served.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who leaves in the middle is no news."""


class Scraper(WSGIRequestHandler):
    """One connection."""

    def log_message(self, *_: object) -> None:
        """Nobody wants to read of every scrape."""
