"""A model behind HTTP: `flask run` and `gunicorn "endpoint:create_app()"`."""


def create_app(module: str | None = None):
    """Return the Flask app that serves the class Model of a module."""
    # Imported here: not all modules of this package need Flask and half a second.
    from endpoint.app import create_app

    return create_app(module)
