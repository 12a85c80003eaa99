"""SVG in few bytes: the drawing that matplotlib writes, without what nobody sees of it."""

import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_UNITS = 100
"""Steps of a coordinate in a point: finer than any screen shows."""


def compact(svg: bytes, title: str = "", described: str = "") -> bytes:
    """Return the same drawing with coordinates rounded, paths relative, looks shared.

    What it is called and what it shows in words are for those who do not see it.
    """
    root = ET.fromstring(svg)
    root[:] = [child for child in root if child.tag != f"{_SVG}metadata"]
    names = (f"a{np.base_repr(number, 36).lower()}" for number in itertools.count())
    used = re.findall(r'(?:url\(|href=")#([\w-]+)', svg.decode())
    ids = {id_: next(names) for id_ in dict.fromkeys(used)}
    looks = Counter(look for element in root.iter() if (look := element.get("style")))
    classes = {look: next(names) for look, count in looks.items() if count > 1}
    for element in root.iter():
        attributes = dict(element.attrib)
        element.attrib.clear()
        element.attrib.update(_attributes(attributes, ids, classes))
        element.tail = None
        if element.tag == f"{_SVG}style":
            element.text = f"{element.text}{''.join(map(_rule, classes.items()))}"
        else:
            element.text = None
    _share_classes(root)
    _unwrap(root, {name for look, name in classes.items() if _is_plain(look)})
    _describe(root, {"title": title, "desc": described})
    ET.register_namespace("", _SVG[1:-1])
    return ET.tostring(root, encoding="utf-8", xml_declaration=True).replace(b" />", b"/>") + b"\n"


def _attributes(
    attributes: dict[str, str], ids: dict[str, str], classes: dict[str, str]
) -> Iterable[tuple[str, str]]:
    for key, value in attributes.items():
        if key == "style" and value in classes:
            yield "class", classes[value]
        elif key == "id" and value not in ids:
            continue
        elif key == "id":
            yield key, ids[value]
        elif key == _LINK:
            yield "href", f"#{ids[value[1:]]}"
        elif key == "clip-path":
            yield key, f"url(#{ids[value[5:-1]]})"
        elif key == "d":
            yield key, _path(value)
        elif key == "transform" and (along := re.fullmatch(r"translate\((\S+) 0\)", value)):
            yield "x", f"{float(along[1]):.0f}"  # in hundredths of the size of a letter
        elif key == "transform":
            yield key, re.sub(r"translate\(.*?\)", lambda moved: _rounded(moved[0]), value)
        elif key in ("x", "y", "width", "height"):
            yield key, _rounded(value)
        else:
            yield key, value


def _describe(root: ET.Element, words: Mapping[str, str]) -> None:
    """Put title and description first, where programs that read aloud look for them."""
    given = [(kind, text) for kind, text in words.items() if text]
    if given:
        root.set("role", "img")
    for place, (kind, text) in enumerate(given):
        element = ET.Element(f"{_SVG}{kind}")
        element.text = text
        root.insert(place, element)


def _rule(item: tuple[str, str]) -> str:
    look, name = item
    return f".{name}{{{look}}}".replace(": ", ":").replace("; ", ";")


def _share_classes(root: ET.Element) -> None:
    """Give a group of markers the class that all of them have."""
    for group in root.iter(f"{_SVG}g"):
        kinds = {(child.tag, child.get("class")) for child in group}
        tag, shared = kinds.pop() if len(kinds) == 1 else ("", None)
        if tag == f"{_SVG}use" and shared and not {"class", "style"} & {*group.attrib}:
            group.set("class", shared)
            for child in group:
                del child.attrib["class"]


def _unwrap(parent: ET.Element, plain: set[str]) -> None:
    """Put the children of groups that say nothing in the place of these; join plain paths."""
    kept: list[ET.Element] = []
    for element in parent:
        _unwrap(element, plain)
        says_nothing = element.tag == f"{_SVG}g" and not element.attrib
        for child in list(element) if says_nothing else [element]:
            if kept and child.get("class") in plain and _alike(kept[-1], child):
                kept[-1].set("d", kept[-1].get("d", "") + child.get("d", ""))
            else:
                kept.append(child)
    parent[:] = kept


def _alike(*paths: ET.Element) -> bool:
    first, second = ({**path.attrib, "d": ""} for path in paths)
    return first == second and {path.tag for path in paths} == {f"{_SVG}path"}


def _is_plain(look: str) -> bool:
    """Return True if shapes of this look can be one path: nothing shows which lies above."""
    is_filled = "fill:" in look and "fill: none" not in look
    return "opacity" not in look and not (is_filled and "stroke:" in look)


def _path(text: str) -> str:
    """Return a path of absolute commands M, L, Q, C and z with relative ones after each M."""
    place, start, before, out = (0, 0), (0, 0), "", []
    for command, numbers in re.findall(r"([MLQCz])([^MLQCz]*)", text):
        ends = [round(float(number) * _UNITS) for number in numbers.split()]
        steps = [end - place[i % 2] for i, end in enumerate(ends)]
        now = command if command == "M" else command.lower()
        if now == "l" and before != "M" and not any(steps):
            continue
        if now == "l" and steps[1] == 0:
            now, steps = "h", steps[:1]
        elif now == "l" and steps[0] == 0:
            now, steps = "v", steps[1:]
        place = (ends[-2], ends[-1]) if ends else start
        start = place if now == "M" else start
        args = " ".join(_number(step) for step in (ends if now == "M" else steps))
        is_implied = now == before and now not in "Mz"
        out.append((" " if is_implied else now) + args)
        before = now
    return "".join(out).replace(" -", "-")


def _rounded(text: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda number: _number(float(number[0]) * _UNITS), text)


def _number(units: float) -> str:
    text = f"{round(units) / _UNITS:.2f}".rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
