"""The site of a race: which clock it has, and what it says of the device."""

import sys
from types import SimpleNamespace

import pytest
from race import site as sites
from race.site import Site, measure_ceilings, nvidia_smi, sentence

from gpubn.backend import resolve

MIB = 1 << 20


@pytest.fixture
def gpu():
    """A site whose CuPy is made up."""
    runtime = SimpleNamespace(
        getDevice=lambda: 0, getDeviceProperties=lambda number: {"l2CacheSize": 50 * MIB}
    )
    xp = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    return Site.of(SimpleNamespace(name="cupy", xp=xp))


def test_a_device_is_timed_by_cupys_events_call_by_call(gpu, monkeypatch):
    def benchmark(work, *, name, n_repeat, n_warmup):
        assert (n_repeat, n_warmup) == (1, 0)
        work()
        return SimpleNamespace(gpu_times={(0, 0): 0.25})

    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupyx.profiler", SimpleNamespace(benchmark=benchmark))
    heard = []
    assert gpu.seconds(lambda: heard.append("work")) == 0.25
    assert heard == ["work"]
    assert (gpu.gpu, gpu.cache) == (True, 50 * MIB)


def test_ceilings_of_the_host_are_measured_and_what_fails_is_said(monkeypatch):
    monkeypatch.setattr(Site, "seconds", lambda site, work: 0.5)
    site = Site.of(resolve("numpy"))
    found = measure_ceilings(site)
    assert (found.copy_rate, found.matrix_rate) == (4 * MIB, 2 * 128**3 / 0.5)
    monkeypatch.setattr(Site, "seconds", lambda site, work: 1 / 0)
    lost = measure_ceilings(site)
    assert lost.copy_rate is None
    assert lost.failed.keys() == {"copy_rate", "matrix_rate"}
    assert lost.failed["copy_rate"] == "ZeroDivisionError: division by zero"


def test_the_card_is_asked_and_may_not_answer(monkeypatch):
    answer = SimpleNamespace(stdout="NVIDIA H100, 580.65, 1980 MHz\n")
    monkeypatch.setattr(sites.subprocess, "run", lambda *args, **kwargs: answer)
    card = nvidia_smi()
    assert (card["name"], card["clocks.sm"]) == ("NVIDIA H100", "1980 MHz")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    assert "nvidia-smi" in nvidia_smi()["failed"]


def test_an_error_is_its_first_line():
    assert sentence(ValueError("no memory\nand a long tale")) == "ValueError: no memory"
    assert sentence(ValueError()) == "ValueError"
