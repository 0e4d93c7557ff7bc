"""The format of the log: text as gunicorn's, or JSON."""

import json
import logging
import os
from datetime import UTC, datetime


class JSONFormatter(logging.Formatter):
    """One JSON object a line; a record's `fields` are among its values."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        line = {
            "time": f"{time.isoformat(timespec='milliseconds')}Z",
            "level": record.levelname,
            "process": record.process,
        }
        line |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter() -> logging.Formatter:
    """Return the format of ENDPOINT_LOG: JSON, or text in gunicorn's own format."""
    if os.environ.get("ENDPOINT_LOG", "").strip() == "json":
        return JSONFormatter()
    text = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
    return logging.Formatter(text, "%Y-%m-%d %H:%M:%S %z")


def configure_logging() -> None:
    """Log to stderr, unless the root logger has a handler already."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("endpoint").setLevel("INFO")
    # The development server logs each request too, in less detail.
    logging.getLogger("werkzeug").addFilter(
        lambda record: not str(record.msg).endswith('"%s" %s %s')
    )
