"""The lock of a tracker."""

import contextlib

import pytest
from filelock import FileLock, Timeout

from gpubn.sweeps.trackers.lock import locked


def test_one_holds_it_at_a_time_whatever_happens(tmp_path):
    path = tmp_path / "new" / "lock"
    with contextlib.suppress(KeyError), locked(path):
        with pytest.raises(Timeout):
            FileLock(path).acquire(timeout=0)
        raise KeyError
    with locked(path):
        pass
