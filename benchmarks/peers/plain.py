"""A first version as many people write it: Flask, one image at a time.

`gunicorn plain:app` has gunicorn's defaults: one worker, one request at a time.
"""

from captioner import Captioner
from flask import Flask, request

app = Flask(__name__)
captioner = Captioner()


@app.post("/predict")
def predict():
    pixels = captioner.pixels(request.files["file"].read())
    return {"caption": captioner.captions([pixels])[0]}
