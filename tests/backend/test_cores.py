"""The CPU: cores by affinity, or the quota of a container where that is smaller; its name."""

import os
import platform
import sys

import pytest

from gpubn.backend import cores, cpu_name

MODULE = sys.modules["gpubn.backend.cores"]


@pytest.mark.parametrize(
    ("own", "quotas", "expected"),
    [
        ("0::/\n", {"": "max 100000\n"}, 8),
        ("0::/\n", {"": "200000 100000\n"}, 2),
        ("0::/\n", {"": "150000 100000\n"}, 2),
        ("0::/\n", {"": "1000 100000\n"}, 1),
        ("0::/\n", {"": "1600000 100000\n"}, 8),
        ("1:cpu:/x\n0::/a/b\n", {"a/b": "max 100000\n", "a": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b": "500000 100000\n", "a": "700000 100000\n"}, 5),
        ("1:cpu:/\n", {}, 8),
        (None, {"": "100000 100000\n"}, 8),
        ("0::/\n", {"": "strange\n"}, 8),
    ],
)
def test_the_smallest_limit_counts(monkeypatch, tmp_path, own, quotas, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(MODULE, "_ROOT", tmp_path)
    monkeypatch.setattr(MODULE, "_OWN", tmp_path / "own")
    if own is not None:
        (tmp_path / "own").write_text(own)
    for group, text in quotas.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "cpu.max").write_text(text)
    assert cores() == expected


def test_where_the_system_does_not_tell_all_cores_count(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setattr(MODULE, "_OWN", tmp_path / "own")
    assert cores() == 5


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU: fast\nmodel name\t: Other\n", "Some CPU: fast"),
        ("model name\nmodel name\t:\nmodel name\t: Last\n", "Last"),
        ("processor\t: 0\nCPU architecture: 8\n", f"{platform.machine()} CPU"),
        (None, f"{platform.machine()} CPU"),
    ],
)
def test_a_cpu_is_called_as_the_system_calls_it(monkeypatch, tmp_path, facts, name):
    path = tmp_path / "cpuinfo"
    if facts is not None:
        path.write_text(facts)
    monkeypatch.setattr(MODULE, "_FACTS", path)
    assert cpu_name() == name
