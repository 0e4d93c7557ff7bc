"""A file that ends after some CPU time."""

import time

import pytest

from model_helpers.slots import TimedBytesIO


def test_file_ends_after_its_cpu_time():
    file = TimedBytesIO(b"data", seconds=0.05)
    assert file.read(1) == b"d"
    end = time.thread_time() + 0.06
    while time.thread_time() < end:
        pass
    with pytest.raises(ValueError, match="takes too long"):
        file.read()
