"""The ceiling of the load generator: its requests to a server that does nothing."""

import argparse
import json

from benchmarks import load, pictures, servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    messages = [load.request(picture.data) for picture in pictures.mix()]
    with servers.Server("noop", None) as server:
        server.wait(messages[0])
        for number in options.clients:
            answers = load.measure(
                server.port, messages, number, options.seconds, options.processes
            )
            print(number, "clients:", json.dumps(answers.summary()))


if __name__ == "__main__":
    main()
