"""One Slurm cluster for the session; where there can be none, its tests are skipped loudly."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cluster_module():
    spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def slurm(cluster_module, tmp_path_factory):
    """A started Cluster."""
    if problem := cluster_module.unavailable():
        pytest.skip(f"slurm: {problem}")
    cluster_module.install()
    with cluster_module.Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats.get("skipped", [])
    reasons = [str(r.longrepr[-1]) for r in reports if isinstance(r.longrepr, tuple)]
    if ours := [reason for reason in reasons if "slurm: " in reason]:
        terminalreporter.write_line(
            f"WARNING: {len(ours)} slurm tests DID NOT RUN: {ours[0].partition('slurm: ')[2]}",
            yellow=True,
            bold=True,
        )
