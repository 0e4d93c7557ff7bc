"""A URL of a stranger's to a file: public addresses only, bounded in bytes and time."""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from urllib.parse import SplitResult, urljoin, urlsplit

SECONDS = 20.0  # for all of it, redirects included
REDIRECTS = 3
UNREACHABLE = "The URL did not answer with a file in time."


class Refused(ValueError):
    """The URL will not be fetched, or could not be; the sentence is for its sender."""


def fetch(url: str, most: int) -> bytes:
    """Return what lies at the URL, or raise Refused."""
    until = time.monotonic() + SECONDS
    for _ in range(1 + REDIRECTS):
        try:
            status, moved, data = _get(urlsplit(url), most, until)
        except Refused:
            raise
        except (OSError, ValueError, http.client.HTTPException):
            raise Refused(UNREACHABLE) from None
        if status not in (301, 302, 303, 307, 308):
            break
        url = urljoin(url, moved or "")
    if time.monotonic() > until:
        raise Refused(UNREACHABLE)  # What came may be a part.
    if status != 200:
        raise Refused(f"The URL answered with status {status}, not with a file.")
    if len(data) > most:
        raise Refused(f"The file at the URL has over {most:,} bytes.")
    return data


def _get(url: SplitResult, most: int, until: float) -> tuple[int, str | None, bytes]:
    if url.scheme not in ("http", "https") or not url.hostname or url.username:
        raise Refused("A URL begins with http:// or https:// and a host's name.")
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    # Resolved once and connected to as resolved: asked again, a name may lie.
    target, left = (_public(url.hostname, port), port), until - time.monotonic()
    with socket.create_connection(target, max(left, 0.1)) as plain:
        # Also ends an answer, or a TLS handshake, that comes drop by drop.
        end = threading.Timer(left, _cut, [plain.dup()])
        end.start()
        try:
            return _ask(plain, url, port, most)
        finally:
            end.cancel()
            end.args[0].close()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _ask(plain: socket.socket, url: SplitResult, port: int, most: int) -> tuple:
    connection = http.client.HTTPConnection(url.hostname, port)
    connection.sock = plain
    if url.scheme == "https":
        context = ssl.create_default_context()
        connection.sock = context.wrap_socket(plain, server_hostname=url.hostname)
    with connection.sock:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("GET", path, headers={"User-Agent": "endpoint"})
        answer = connection.getresponse()
        return answer.status, answer.headers["Location"], answer.read(most + 1)


def _public(host: str, port: int) -> str:
    """Return an address of the host, all of whose addresses have to be public."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [address[4][0].partition("%")[0] for address in found]
    if not all(map(_is_public, addresses)):
        raise Refused("The URL leads to a private address.")
    return addresses[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if address.version == 6:
        if address.ipv4_mapped:
            return _is_public(str(address.ipv4_mapped))
        # Of the rest of IPv6, and of these tunnels, none leads to the public network.
        tunnels = address.sixtofour or address.teredo
        if tunnels or address not in ipaddress.ip_network("2000::/3"):
            return False
    return address.is_global and not address.is_multicast
