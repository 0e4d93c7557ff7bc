"""A model behind HTTP: `flask run` and `gunicorn "endpoint:create_app()"`."""

from endpoint.app import create_app

__all__ = ["create_app"]
