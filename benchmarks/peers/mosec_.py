"""mosec, with processes that only decode images: `python mosec_.py --port 8000`."""

import torch
from captioner import MAX_BATCH, Captioner, Decoder
from mosec import Server, Worker


class Decode(Worker):
    def __init__(self):
        torch.set_num_threads(1)
        self.decoder = Decoder()

    def deserialize(self, data):
        return data

    def forward(self, data):
        return self.decoder.pixels(data)


class Caption(Worker):
    def __init__(self):
        self.captioner = Captioner()

    def forward(self, pixels):
        return self.captioner.captions(pixels)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=4)
    batching = {"max_batch_size": MAX_BATCH, "max_wait_time": 10}  # milliseconds
    server.append_worker(Caption, **batching)
    server.run()
