"""The folder where gunicorn's workers write their metrics, so that each reports all."""

import contextlib
import os
import shutil
import tempfile

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # an environment variable
PREFIX = "endpoint-metrics-"
FILE_BYTES = 1 << 16  # of each of a worker's files, of which it uses about a third


def memory_folder() -> str | None:
    """Return a folder that is in memory, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def make_folder() -> None:
    """Make the folder; without space for one, each worker reports its own metrics.

    Call it before prometheus_client is imported, which reads the variable.
    """
    if PREFIX in os.environ.get(FOLDER, ""):
        return  # after a reload
    for parent in (memory_folder(), None):
        with contextlib.suppress(OSError):
            os.environ[FOLDER] = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
            _reserve_space()
            return
        remove_folder()


def start_worker() -> str:
    """Reserve space for this process; return why it has no metrics, else ""."""
    from prometheus_client import values

    try:
        if FOLDER in os.environ:
            _reserve_space()
    except OSError as error:
        setattr(values, "MmapedDict", NoMetrics)
        return str(error)
    return ""


def end_worker(process: int) -> None:
    """Remove the gauges of a process that has ended from the sum."""
    from prometheus_client import multiprocess

    if FOLDER in os.environ:
        multiprocess.mark_process_dead(process)


def remove_folder() -> None:
    if FOLDER in os.environ:
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


def _reserve_space() -> None:
    """Write this process's files; without space for them, raise OSError.

    prometheus_client maps them into memory, where a full disk would end the process.
    """
    names = ("counter", "histogram", "gauge_livesum", "gauge_mostrecent")
    paths = [f"{os.environ[FOLDER]}/{name}_{os.getpid()}.db" for name in names]
    try:
        for path in paths:
            with open(path, "wb") as file:
                file.write(bytes(FILE_BYTES))
    except OSError:
        for path in filter(os.path.exists, paths):
            os.remove(path)
        raise


class NoMetrics:
    """What prometheus_client writes to in a worker that has no space for metrics."""

    def __init__(self, path: str) -> None:
        pass

    def read_value(self, key: str) -> tuple[float, float]:
        return 0.0, 0.0  # value, timestamp

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        pass

    def close(self) -> None:
        pass
