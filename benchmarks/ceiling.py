"""Requests to a server that does nothing to the highest rate of the load generator.

`python -m benchmarks.ceiling` prints it; no server can be measured above it.
"""

import argparse
import json

from benchmarks import images, load, servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    requests = [load.make_request(image.data) for image in images.make_images()]
    with servers.Server("noop", None) as server:
        server.wait(requests[0])
        for clients in options.clients:
            tally = load.measure(
                server.port, requests, clients, options.seconds, options.processes
            )
            print(clients, "clients:", json.dumps(tally.summary()))


if __name__ == "__main__":
    main()
