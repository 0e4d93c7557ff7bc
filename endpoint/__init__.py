"""A model behind HTTP: `flask run`, or `gunicorn`, which calls `endpoint:serve()`."""

import os
from functools import partial

import click
from flask import Flask
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

from endpoint.app import routes
from endpoint.batcher import Batcher
from endpoint.commands import Commands
from endpoint.log_format import configure_logging
from endpoint.responses import error_response
from endpoint.settings import read_settings
from endpoint.uploads import InMemoryRequest
from model_interface.loading import load_model


def create_app(module: str | None = None) -> Flask:
    """Put the app together; under `flask run`, also begin to load the model."""
    configure_logging()
    settings = read_settings()
    module = module or settings.module
    app = Flask("endpoint")
    app.request_class = InMemoryRequest
    setattr(app.json, "sort_keys", False)  # The first value of an answer is its text.
    app.config.update({k.upper(): v for k, v in settings.model_dump().items()})
    app.config.update(MODULE=module, MAX_FORM_PARTS=100)
    # An empty list allows every host.
    app.config["TRUSTED_HOSTS"] = settings.hosts.lower().replace(",", " ").split()
    app.config["MAX_CONTENT_LENGTH"] = int(settings.max_upload_mb * 1_000_000)
    # A debug server keeps running so that you can fix the file.
    exit = (lambda status: None) if app.debug else os._exit
    batcher = Batcher(partial(load_model, module), module, settings, exit)
    app.extensions["batcher"] = batcher
    app.register_blueprint(routes)
    app.register_error_handler(Exception, error_response)
    app.cli = Commands()
    if is_flask_run():
        batcher.start()
    return app


def serve() -> Flask:
    """Return the app for a WSGI server, and begin to load the model."""
    app = create_app()
    app.jinja_env.get_template("index.html")  # compiled now, not in every thread
    app.extensions["batcher"].start()
    return app


def is_flask_run() -> bool:
    """Tell `flask run` from other commands, and from the parent of its reloader."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return False
    reload = context.params.get("reload")
    reloads = get_debug_flag() if reload is None else reload
    return is_running_from_reloader() or not reloads
