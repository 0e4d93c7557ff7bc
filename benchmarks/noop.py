"""A server that reads uploads and answers at once, to measure the load generator by.

`python -m benchmarks.noop PORT [PROCESSES]`
"""

import asyncio
import os
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nno\n"
BUFFER = 1 << 20  # bytes


class Noop(asyncio.BufferedProtocol):
    """Count the bytes of each upload and forget them."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER)
        self.head, self.missing = b"", 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def get_buffer(self, _hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, size: int) -> None:
        if not self.missing:
            self.head += self.buffer[:size]
            head, found, body = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            self.head, self.missing, size = b"", int(length), len(body)
        self.missing -= size
        if not self.missing:
            self.transport.write(ANSWER)


async def serve(port: int) -> None:
    # All processes listen on the port; the kernel shares the connections out.
    listener = socket.create_server(("127.0.0.1", port), reuse_port=True, backlog=512)
    server = await asyncio.get_running_loop().create_server(Noop, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    for _ in range(int(sys.argv[2]) - 1 if len(sys.argv) > 2 else 0):
        if os.fork() == 0:
            break
    asyncio.run(serve(int(sys.argv[1])))
