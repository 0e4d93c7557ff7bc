"""LitServe with its batching: `python litserve_.py`."""

import litserve
from captioner import MAX_BATCH, PORT, TIMEOUT, Captioner


class CaptionerAPI(litserve.LitAPI):
    captioner_class = Captioner

    def setup(self, device):
        self.captioner = self.captioner_class()

    def decode_request(self, request):
        return self.captioner.pixels(request["file"].file.read())

    def predict(self, pixels):
        return self.captioner.captions(pixels)

    def encode_response(self, caption):
        return {"caption": caption}

    def batch(self, inputs):
        return inputs

    def unbatch(self, output):
        return output


def serve(api: type[CaptionerAPI]) -> None:
    batching = {"max_batch_size": MAX_BATCH, "batch_timeout": 0.01}  # seconds
    server = litserve.LitServer(api(**batching), timeout=TIMEOUT)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False)


if __name__ == "__main__":
    serve(CaptionerAPI)
