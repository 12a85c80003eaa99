"""Lets Hydra find the configuration of extensions in our own applications, and in no other."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from gpubn.extensions import extensions
from gpubn.files import shipped


class ExtensionSearchPath(SearchPathPlugin):
    """Appends `conf` of each extension to a search path that has ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Change the search path."""
        ours = str(shipped("conf"))
        if any(element.path.removeprefix("file://") == ours for element in search_path.get_path()):
            for extension in extensions():
                if (conf := extension.folder / "conf").is_dir():
                    search_path.append("gpubn", f"file://{conf}")
