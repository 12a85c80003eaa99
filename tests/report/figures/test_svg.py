"""SVG in few bytes, the same drawing."""

import re

import pytest

from gpubn.report.figures.svg import compact

MARK = "stroke: #000000; stroke-width: 0.8"
DRAWING = f"""<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" viewBox="0 0 9 9"
  xmlns="http://www.w3.org/2000/svg">
 <metadata><type/></metadata>
 <defs><style type="text/css">*{{stroke-linecap: butt}}</style></defs>
 <g id="line_1">
  <!-- a comment -->
  <path d="M 1 2 L 1.004 2.001 L 2.5 2 L 2.5 2 L 2.5 0.999 Q 3 4 5.126 6 z M 7 7 M 8 8 L 9.5 7
L 9.75 7.5" clip-path="url(#p1)" style="fill: none"/>
 </g>
 <clipPath id="p1"><rect x="0.126" y="3" width="2.999" height="3"/></clipPath>
 <g clip-path="url(#p1)">
  <use xlink:href="#m1" x="1.23456" y="2" style="{MARK}"/>
  <use xlink:href="#m1" x="3" y="4" style="{MARK}"/>
 </g>
 <g transform="translate(1.23456 7) scale(0.075 -0.075)">
  <path id="m1" d="M 0 -3 L 3 0" transform="scale(0.015625)"/>
  <use xlink:href="#m1" transform="translate(61.28125 0)"/>
 </g>
</svg>"""


def test_a_drawing_keeps_what_is_seen_of_it():
    text = compact(DRAWING.encode()).decode()
    assert text.splitlines()[1] == (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" viewBox="0 0 9 9">'
        '<defs><style type="text/css">*{stroke-linecap: butt}'
        ".a2{stroke:#000000;stroke-width:0.8}</style></defs>"
        '<path d="M1 2h0 1.5v-1q.5 3 2.63 5zM7 7M8 8l1.5-1 .25 .5" clip-path="url(#a0)" '
        'style="fill: none"/>'
        '<clipPath id="a0"><rect x=".13" y="3" width="3" height="3"/></clipPath>'
        '<g clip-path="url(#a0)" class="a2"><use href="#a1" x="1.23" y="2"/>'
        '<use href="#a1" x="3" y="4"/></g>'
        '<g transform="translate(1.23 7) scale(0.075 -0.075)">'
        '<path id="a1" d="M0-3l3 3" transform="scale(0.015625)"/><use href="#a1" x="61"/></g>'
        "</svg>"
    )


def test_a_drawing_says_what_it_is_to_those_who_do_not_see_it():
    text = compact(b'<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>', "T", "a < b").decode()
    assert text.splitlines()[1] == (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img"><title>T</title>'
        "<desc>a &lt; b</desc></svg>"
    )


def drawn(paths):
    """What is left of some paths (d, look)."""
    elements = "".join(f'<g id="patch"><path d="{d}" style="{look}"/></g>' for d, look in paths)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><defs><style/></defs>{elements}</svg>'
    return re.findall(' d="(.*?)"', compact(svg.encode()).decode())


def test_rounding_does_not_add_up_along_a_path():
    assert drawn([("M 0 0 L 1.004 9 L 2.008 0 L 3.012 9", "")]) == ["M0 0l1 9 1.01-9 1 9"]


@pytest.mark.parametrize(
    ("look", "joined"),
    [
        ("fill: #0072b2", True),
        ("fill: none; stroke: #000000", True),
        ("fill: #0072b2; stroke: #000000", False),
        ("fill: #0072b2; opacity: 0.2", False),
    ],
)
def test_neighbours_are_one_path_where_nothing_shows_which_lies_above(look, joined):
    left, right = ("M 0 0 L 1 0 L 1 2 z", look), ("M 1 0 L 2 0 L 2 3 z", look)
    apart = ["M0 0h1v2z", "M1 0h1v3z"]
    assert drawn([left, right]) == (["".join(apart)] if joined else apart)
    assert len(drawn([left, (right[0], "fill: none"), left])) == 3
