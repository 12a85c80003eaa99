"""The configuration of the launcher, for Hydra's ConfigStore."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore


@dataclass
class VectorizedLauncherConf:
    """Arguments of `gpubn.vectorized.launcher.VectorizedLauncher`."""

    _target_: str = "hydra_plugins.vectorized_launcher.VectorizedLauncher"
    console: bool = False
    part: str = "1/1"
    resume: bool = False


def register() -> None:
    """Make `hydra/launcher=vectorized` known."""
    ConfigStore.instance().store(
        group="hydra/launcher",
        name="vectorized",
        node=VectorizedLauncherConf,
        provider="vectorized_launcher",
    )
