"""An untrusted URL to its bytes: public addresses only, limited in size and time."""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from urllib.parse import SplitResult, urljoin, urlsplit

TIMEOUT = 20.0  # seconds for all of it, redirects included
MAX_REDIRECTS = 3
UNREACHABLE = "The URL is unreachable or too slow."
Response = tuple[int, str | None, bytes]  # status, Location, body


class FetchError(ValueError):
    """The URL is refused or cannot be fetched; the message is for its sender."""


def fetch(url: str, max_bytes: int) -> bytes:
    """Return the file at the URL, or raise FetchError."""
    deadline = time.monotonic() + TIMEOUT
    for _ in range(1 + MAX_REDIRECTS):
        try:
            status, location, data = _get(urlsplit(url), max_bytes, deadline)
        except FetchError:
            raise
        except (OSError, ValueError, http.client.HTTPException):
            raise FetchError(UNREACHABLE) from None
        if status not in (301, 302, 303, 307, 308):
            break
        url = urljoin(url, location or "")
    if time.monotonic() > deadline:  # The data may be incomplete.
        raise FetchError(UNREACHABLE)
    if status != 200:
        raise FetchError(f"The URL returned status {status} instead of a file.")
    if len(data) > max_bytes:
        raise FetchError(f"The file at the URL is larger than {max_bytes:,} bytes.")
    return data


def _get(url: SplitResult, max_bytes: int, deadline: float) -> Response:
    if url.scheme not in ("http", "https") or not url.hostname or url.username:
        raise FetchError("The URL must begin with http:// or https:// and a host name.")
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    # The name is resolved once and the connection goes to the address that was checked:
    # a second lookup could return a private one.
    address = _resolve_public(url.hostname, port)
    remaining = deadline - time.monotonic()
    with socket.create_connection((address, port), max(remaining, 0.1)) as connection:
        # A socket's own timeout restarts with every byte; this one does not.
        timer = threading.Timer(remaining, _shut_down, [connection.dup()])
        timer.start()
        try:
            return _exchange(connection, url, port, max_bytes)
        finally:
            timer.cancel()
            timer.args[0].close()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _exchange(
    plain: socket.socket, url: SplitResult, port: int, max_bytes: int
) -> Response:
    """Send a GET request over an open connection, with TLS for https."""
    connection = http.client.HTTPConnection(url.hostname or "", port)
    connection.sock = plain
    if url.scheme == "https":
        context = ssl.create_default_context()
        connection.sock = context.wrap_socket(plain, server_hostname=url.hostname)
    with connection.sock:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("GET", path, headers={"User-Agent": "endpoint"})
        response = connection.getresponse()
        data = response.read(max_bytes + 1)
        if response.length and len(data) <= max_bytes:
            raise http.client.IncompleteRead(data, response.length)
        return response.status, response.headers["Location"], data


def _resolve_public(host: str, port: int) -> str:
    """Return an address of the host; all of its addresses must be public."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not all(map(_is_public, addresses)):
        raise FetchError("The URL resolves to a private address.")
    return addresses[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if address.version == 6:
        if address.ipv4_mapped:
            return _is_public(str(address.ipv4_mapped))
        # Only 2000::/3 is public, and tunnels in it can lead to private addresses.
        is_tunnel = address.sixtofour or address.teredo
        if is_tunnel or address not in ipaddress.ip_network("2000::/3"):
            return False
    return address.is_global and not address.is_multicast
