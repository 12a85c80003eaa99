"""Many configurations that differ from one in a few values, without composing each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from gpubn.config import Config

Values = Mapping[str, Any]
"""Dotted key -> value."""

_PARTS = tuple(f.name for f in fields(Config) if isinstance(f.type, type) and is_dataclass(f.type))


@dataclass
class Variants:
    """Makes validated configurations from a base; equal parts are one object in all of them."""

    base: Config
    _parts: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def make(self, values: Values) -> Config:
        """Return the base with some values changed.

        Raises:
            ConfigError: a value is out of range.
        """
        changed: dict[str, Any] = {}
        inside: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            part, _, name = key.partition(".")
            if name:
                inside.setdefault(part, {})[name] = value
            else:
                changed[part] = value
        for part, of_part in inside.items():
            place = (part, repr(of_part))  # 0 equals -0.0 and False, but not in a cell's id
            if place not in self._parts:
                self._parts[place] = replace(getattr(self.base, part), **of_part)
            changed[part] = self._parts[place]
        return replace(self.base, **changed)

    def differences(self, config: Config) -> dict[str, Any]:
        """The values that `make` turns into `config`."""
        found = {}
        for f in fields(Config):
            own, base = getattr(config, f.name), getattr(self.base, f.name)
            if own is base or repr(own) == repr(base):
                continue
            if f.name not in _PARTS:
                found[f.name] = own
                continue
            for name, value in vars(own).items():
                if repr(value) != repr(getattr(base, name)):
                    found[f"{f.name}.{name}"] = value
        return found
