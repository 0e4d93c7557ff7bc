"""Old names that work for one more release: delete this file with the next one."""

import logging
import os
import re

log = logging.getLogger(__name__)

VARIABLES = {"ENDPOINT_APP": "ENDPOINT_MODULE"}
METRICS = {"queued": "queue_size", "splits": "batch_splits"}


def rename_variables() -> None:
    """Copy environment variables to their new names, with a warning."""
    for old, new in VARIABLES.items():
        if old in os.environ and new not in os.environ:
            log.warning("%s is now %s; use the new name.", old, new)
            os.environ[new] = os.environ[old]


def with_old_metrics(text: str) -> str:
    """Repeat renamed metrics under their old names, in the Prometheus text format."""
    for old, new in METRICS.items():
        lines = re.findall(rf"^.*\bendpoint_{new}(?:_total)?\b.*\n", text, re.M)
        text += "".join(lines).replace(f"endpoint_{new}", f"endpoint_{old}")
    return text
