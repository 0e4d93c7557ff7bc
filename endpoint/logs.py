"""Log records to lines that people read or, with ENDPOINT_LOG=json, machines do."""

import json
import logging
import os
import time
from pathlib import Path
from types import TracebackType

from flask import Response, g, request

OURS = Path(__file__).parent
log = logging.getLogger(__name__)


class Lines(logging.Formatter):
    """Lines for people; a traceback begins where the model's own file does."""

    def __init__(self) -> None:
        form = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
        super().__init__(form, "%Y-%m-%d %H:%M:%S %z")  # gunicorn's own form

    def formatException(self, info: tuple) -> str:
        kind, error, trace = info
        return super().formatException((kind, error, _users(error, trace)))


class Json(Lines):
    """One JSON object a line, a request's figures among its values."""

    def format(self, record: logging.LogRecord) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{now}.{int(record.msecs):03d}Z", "level": record.levelname}
        facts = getattr(record, "facts", None) or {"message": record.getMessage()}
        line |= {"process": record.process, **facts}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter() -> logging.Formatter:
    return Json() if os.environ.get("ENDPOINT_LOG") == "json" else Lines()


def configure() -> None:
    """Write all records to stderr, unless whoever runs us has said where they go."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("endpoint").setLevel("INFO")
    # Flask's own server has a line for each request, too, which tells less.
    logging.getLogger("werkzeug").addFilter(_tells_no_request)


def answered(response: Response) -> Response:
    """Log a request in one line."""
    facts = {
        "id": g.request_id,
        # At a unix socket only the proxy before us knows, and only it can speak.
        "client": request.remote_addr or request.headers.get("X-Real-IP", "-"),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "received": request.content_length or 0,
        "sent": response.content_length or 0,
        "ms": round(1000 * (time.monotonic() - g.started), 1),
        **{f"{stage}_ms": round(1000 * g.seconds[stage], 1) for stage in g.seconds},
        "batch": g.batch,
    }
    # Quoted as JSON is, for a path may hold line breaks.
    shown = facts | {"what": json.dumps(f"{request.method} {request.path}")}
    # Probes come by the second: only their failures are news.
    probe = request.path in ("/ping", "/metrics") and response.status_code < 300
    log.log(
        logging.DEBUG if probe else logging.INFO,
        "%(client)s %(what)s %(status)d, %(received)d bytes in, %(sent)d out, "
        "%(ms).1f ms (decode %(decode_ms).1f, queue %(queue_ms).1f, "
        "predict %(predict_ms).1f, batch %(batch)d) %(id)s",
        shown,
        extra={"facts": facts},
    )
    return response


def _tells_no_request(record: logging.LogRecord) -> bool:
    return not str(record.msg).endswith('"%s" %s %s')


def _users(error: BaseException, trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of this package and of the import above the model's."""
    start = trace
    while trace and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    told = isinstance(error, SyntaxError | ImportError)  # It names its own line.
    return trace if trace or told else start


def _is_ours(file: str) -> bool:
    path = Path(file)
    own = path.parent == OURS and path.name != "model.py"
    return own or "importlib" in file
