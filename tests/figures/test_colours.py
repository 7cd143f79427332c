"""What the colours of figures and pages say, seen with each kind of colour blindness.

Simulated after Machado, Oliveira and Fernandes (2009) at full severity; differences are distances in CAM02-UCS (Luo,
Cui and Li 2006), where 1 is about the least that is seen of two patches side by side. Both are colorspacious'.
"""

import re

import numpy as np
import pytest
from colorspacious import cspace_convert
from drawn_tables import controls_of, figures_of, made_up
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from replication.base.paths import REPOSITORY
from replication.figures import canvas as page
from replication.figures import lens_fit as fit

EYES = ("all", "protanomaly", "deuteranomaly", "tritanomaly")
STEPS = 101

SCRIPT = (REPOSITORY / "replication/figures/interactive_page/page.js").read_text(encoding="utf-8")
ON_PAGES = {
    name: LinearSegmentedColormap.from_list(name, re.findall(r"#\w{6}", colours))
    for name, colours in re.findall(r"^const (losses|changes) = \[(.*)\];$", SCRIPT, re.MULTILINE)
}
SEQUENTIAL = {"viridis": colormaps["viridis"], "Blues": colormaps["Blues"], "losses": ON_PAGES["losses"]}
DIVERGING = {"RdBu_r": colormaps["RdBu_r"], "changes": ON_PAGES["changes"]}
MARKS = {"conditions": (page.UNSTEERED, page.STEERED), "lenses": [colour for colour, _, _ in fit.LINES.values()]}


def seen(rgb: np.ndarray, eyes: str) -> np.ndarray:
    """Colours, (n, 3) in 0..1, as lightness, redness and yellowness (CAM02-UCS) for those eyes."""
    if eyes != "all":
        rgb = np.clip(cspace_convert(rgb, {"name": "sRGB1+CVD", "cvd_type": eyes, "severity": 100}, "sRGB1"), 0, 1)
    return cspace_convert(rgb, "sRGB1", "CAM02-UCS")


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(one - other, axis=-1)


def scale(colours) -> np.ndarray:
    return colours(np.linspace(0, 1, STEPS))[:, :3]


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_larger_value_is_lighter_or_darker_throughout(name, eyes):
    found = seen(scale(SEQUENTIAL[name]), eyes)
    steps = np.diff(found[:, 0])
    assert (steps > 0).all() or (steps < 0).all()
    # Values a tenth of the scale apart are plainly other colours.
    assert distances(found[10:], found[:-10]).min() > 4


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("name", DIVERGING)
def test_rises_are_told_from_falls(name, eyes):
    found = seen(scale(DIVERGING[name]), eyes)
    middle = STEPS // 2
    assert (np.diff(found[: middle + 1, 0]) > 0).all(), "falls get lighter towards no change"
    assert (np.diff(found[middle:, 0]) < 0).all(), "rises get darker away from it"
    # A change of a tenth of the largest, up against down; beside the colour, cells say the sign.
    assert distances(found, found[::-1])[: middle - 4].min() > 7


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("marks", MARKS)
def test_lines_and_marks_are_told_apart(marks, eyes):
    found = seen(np.array([to_rgb(colour) for colour in (*MARKS[marks], "white")]), eyes)
    for i in range(len(found)):
        for j in range(i):
            assert distances(found[i], found[j]) > 20, (MARKS[marks], i, j)


def test_no_figure_has_other_colours():
    made = made_up(layers=6)
    drawn = [*figures_of(made).values(), *controls_of(made).values()]
    used = {image.cmap.name for figure in drawn for axes in figure.axes for image in axes.images}
    assert used == {"viridis", "RdBu_r", "Blues"}
    assert re.findall(r"colorscale: (.+?),", SCRIPT) == ["colorscale(losses)", "colorscale(changes)"]
