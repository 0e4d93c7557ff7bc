"""What most people write first: Flask, the model at import, a picture at a time.

`gunicorn plain:app`, with gunicorn's defaults: one worker, one request at a time.
"""

from captioner import Captioner
from flask import Flask, request

app = Flask(__name__)
captioner = Captioner()


@app.post("/predict")
def predict():
    pixels = captioner.pixels(request.files["file"].read())
    return {"caption": captioner.captions([pixels])[0]}
