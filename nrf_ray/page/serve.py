"""HTTP server for the page of one sweep, on loopback; every request gets the current page.

Only this machine can connect. A page of another site that is open in a browser on this machine could still send
requests, so a request must name this server as its host (against DNS rebinding), and only this page can be read.
"""

import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nrf_ray.errors import ConfigError, NrfError

LOOPBACK = "127.0.0.1"
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make_server(page: Callable[[], bytes], port: int) -> ThreadingHTTPServer:
    """Return a server of the result of `page`, on `port` of this machine only (0: any free port).

    Raises ConfigError if the port is taken or is not a port.
    """
    at = port

    class Handler(BaseHTTPRequestHandler):
        """Handler of one request."""

        server_version = "nrf_ray"
        sys_version = ""

        def do_GET(self) -> None:
            """Send the page."""
            if self.headers.get("Host") not in (f"{LOOPBACK}:{at}", f"localhost:{at}"):
                self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"this server answers only requests to its own address\n")
            elif self.path.partition("?")[0] != "/":
                self._answer(HTTPStatus.NOT_FOUND, b"there is one page here: /\n")
            else:
                try:
                    self._answer(HTTPStatus.OK, page())
                except NrfError as error:
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode())

        def _answer(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            kind = {} if status is HTTPStatus.OK else {"Content-Type": "text/plain; charset=utf-8"}
            for name, value in {**HEADERS, **kind, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the terminal quiet."""

    class Server(ThreadingHTTPServer):
        """Server that reports an error in one line; a client that disconnects early is not an error."""

        def handle_error(self, request: object, client_address: object) -> None:
            error = sys.exception()
            if not isinstance(error, ConnectionError):
                print(f"cannot make the page: {type(error).__name__}: {error}", file=sys.stderr)

    try:
        server = Server((LOOPBACK, port), Handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} cannot be used ({error}); choose another with --port") from error
    at = server.server_port
    return server
