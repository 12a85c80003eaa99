"""Programs: a step that is run many times, one by one or as a recording that is replayed."""

from collections.abc import Callable

from gpubn.backend.device import Device

Step = Callable[[], None]
Tick = Callable[[int], None]
Program = Callable[[int, Tick | None], None]
"""`program(n, tick)` runs n steps and calls `tick` with the number of steps since its last call."""

STEPS_TOGETHER = 10
"""Steps of the longer recording: a tenth of the launches, and as long to record as ten steps run
one by one."""


def run_each(step: Step, n: int, tick: Tick | None) -> None:
    """Run the step n times."""
    for _ in range(n):
        step()
        if tick is not None:
            tick(1)


class Replay:
    """Records the step once, alone and many in a row, and replays that.

    The first step is run as it is: kernels are compiled, libraries make their plans. Nothing waits
    for a GPU, so `tick` counts what was handed to it.
    """

    def __init__(self, step: Step, device: Device) -> None:
        self._step, self._device = step, device
        self._recorded: dict[int, Step] = {}
        self._warm = False

    def __call__(self, n: int, tick: Tick | None) -> None:
        if n > 0 and not self._warm:
            run_each(self._step, 1, tick)
            self._warm = True
            n -= 1
        for together in (STEPS_TOGETHER, 1):
            while n >= together:
                self._replay(together)
                n -= together
                if tick is not None:
                    tick(together)

    def _replay(self, together: int) -> None:
        if together not in self._recorded:
            self._recorded[together] = self._device.capture(self._step, together)
        self._recorded[together]()
