"""A server that reads uploads and answers at once, to measure the load generator.

`python -m benchmarks.noop PORT [PROCESSES]`
"""

import asyncio
import os
import socket
import sys

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nno\n"
)
BUFFER_SIZE = 1 << 20  # bytes


class Noop(asyncio.BufferedProtocol):
    """Count the bytes of each upload and discard them."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER_SIZE)
        self.head, self.remaining = b"", 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def get_buffer(self, _hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, size: int) -> None:
        if not self.remaining:
            self.head += self.buffer[:size]
            head, end, body = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            self.head, self.remaining, size = b"", int(length), len(body)
        self.remaining -= size
        if not self.remaining:
            self.transport.write(RESPONSE)


async def serve(port: int) -> None:
    # All processes listen on the same port, and the kernel distributes connections.
    listener = socket.create_server(("127.0.0.1", port), reuse_port=True, backlog=512)
    server = await asyncio.get_running_loop().create_server(Noop, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    for _ in range(int(sys.argv[2]) - 1 if len(sys.argv) > 2 else 0):
        if os.fork() == 0:
            break
    asyncio.run(serve(int(sys.argv[1])))
