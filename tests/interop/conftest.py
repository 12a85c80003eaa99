import pytest

from tests.cuda.standin import lift


@pytest.fixture(autouse=True)
def seeded():
    """On one thread: on busy cores threads wait longer for each other than these shapes take."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fused(backend, monkeypatch):
    """The layer on the kernels that run on CUDA, here on the CPU."""
    from gpubn.interop import torch_functions, torch_operators

    array_of = torch_functions.array
    for module in (torch_functions, torch_operators):
        monkeypatch.setattr(
            module, "array", lambda tensor: None if tensor is None else lift(array_of(tensor))
        )
    backend.xp.device.launched.clear()
    return backend.xp.device
