"""With ENDPOINT_LOG=json, every line that a process prints is JSON."""

import contextlib
import io
import logging
import os
import sys
import threading

from endpoint.log_format import configure_logging
from endpoint.settings import Settings, read_settings
from gunicorn_worker import metrics


def read_settings_and_log() -> Settings:
    """Return the settings; the sentence about a wrong one is logged as JSON."""
    configure_logging()
    with contextlib.redirect_stderr(io.StringIO()) as sentence:
        try:
            return read_settings()
        except SystemExit:
            if os.environ.get("ENDPOINT_LOG", "").strip() == "json":
                logging.critical(sentence.getvalue().strip())
            else:
                print(sentence.getvalue(), end="", file=sys.__stderr__)
            metrics.remove_folder()
            raise


def log_output() -> None:
    """Log each line that libraries write to stdout and stderr in this process."""
    stderr = os.fdopen(os.dup(2), "w", buffering=1)
    for name in ("", "gunicorn.error"):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(stderr)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # A full pipe loses lines, but blocks no thread.
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
    threading.Thread(target=_log_lines, args=[reader], daemon=True).start()


def _log_lines(reader: int) -> None:
    for line in open(reader, errors="replace"):
        logging.getLogger("endpoint").warning("%s", line.rstrip())
