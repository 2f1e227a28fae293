"""What can be a recipe, and what cannot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.recipes import (
    Decision,
    ModelVersion,
    Recipe,
    RecipeError,
    Regions,
    StreamOptions,
    ThresholdRule,
    check,
    check_name,
    check_polygon,
)
from server.recipes.recipe import MOST_CORNERS, MOST_POLYGONS, area

SQUARE = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
RECIPE = Recipe("1", "bottle", 1, ModelVersion("a" * 64))


def ring(corners: int) -> tuple[tuple[float, float], ...]:
    """A polygon of so many corners, with as many digits as numbers have."""
    angles = [2 * math.pi * number / corners for number in range(corners)]
    return tuple((0.5 + 0.4 * math.cos(angle), 0.5 + 0.4 * math.sin(angle)) for angle in angles)


def crosses(polygon: list[tuple[float, float]]) -> bool:
    """Whether edges without a common corner touch, one pair after the other."""
    edges = list(zip(polygon, [*polygon[1:], polygon[0]], strict=True))

    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def on(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> bool:
        return all(min(p[i], q[i]) <= r[i] <= max(p[i], q[i]) for i in (0, 1))

    for i in range(len(edges)):
        for j in range(i + 2, len(edges) - (i == 0)):
            (a, b), (c, d) = edges[i], edges[j]
            if side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0:
                return True
            if any(side(*three) == 0 and on(*three) for three in ((a, b, c), (a, b, d), (c, d, a), (c, d, b))):
                return True
    return False


@pytest.mark.parametrize(
    ("polygon", "why"),
    [
        (SQUARE[:2], "3 to 64 corners"),
        (SQUARE * 17, "3 to 64 corners"),
        (((0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)), "cross each other"),
        (((0.1, 0.1), (0.5, 0.1), (0.9, 0.1)), "too small"),
        (((0.5, 0.5), (0.501, 0.5), (0.501, 0.501)), "too small"),
        (((0.1, 0.1), (1.1, 0.1), (0.5, 0.9)), "lies on the frame"),
        (((0.1, 0.1), (math.nan, 0.1), (0.5, 0.9)), "lies on the frame"),
        (((0.1, 0.1), (0.1, 0.1), (0.9, 0.1), (0.5, 0.9)), "same corner twice"),
        (((0.1, 0.1), (0.9, 0.1), (0.5, 0.1), (0.5, 0.9)), "cross each other"),
    ],
)
def test_what_is_no_polygon_is_refused_with_the_reason(polygon: tuple[tuple[float, float], ...], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        check_polygon(polygon)


def test_polygons_of_all_shapes_are_taken() -> None:
    check_polygon(SQUARE)
    check_polygon(SQUARE[::-1])
    check_polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.6, 1.0), (0.6, 0.4), (0.4, 0.4), (0.4, 1.0), (0.0, 1.0)))
    assert area(SQUARE) == pytest.approx(0.64) and area(SQUARE[::-1]) == pytest.approx(-0.64)


@given(
    st.integers(3, MOST_CORNERS),
    st.floats(0.05, 0.45),
    st.floats(0.0, 6.0),
    st.floats(0.3, 1.0),
)
def test_stars_seen_from_their_middle_do_not_cross_themselves(n: int, radius: float, turn: float, dent: float) -> None:
    corners = tuple(
        (0.5 + r * math.cos(angle), 0.5 + r * math.sin(angle))
        for i in range(n)
        for r, angle in [(radius * (dent if i % 2 else 1.0), turn + 2 * math.pi * i / n)]
    )
    check_polygon(corners)


@given(st.permutations(range(6)))
def test_of_all_orders_of_six_corners_those_without_crossings_are_taken(order: list[int]) -> None:
    corners = [(0.5 + 0.4 * math.cos(math.pi * i / 3), 0.5 + 0.4 * math.sin(math.pi * i / 3)) for i in order]
    turns = {(b - a) % 6 for a, b in zip(order, [*order[1:], order[0]], strict=True)}
    if turns in ({1}, {5}):
        check_polygon(corners)
    else:
        with pytest.raises(RecipeError):
            check_polygon(corners)


@given(st.lists(st.tuples(*[st.integers(0, 5).map(lambda fifths: fifths / 5)] * 2), min_size=3, max_size=8))
def test_all_pairs_of_edges_are_looked_at(corners: list[tuple[float, float]]) -> None:
    try:
        check_polygon(corners)
        refused = ""
    except RecipeError as error:
        refused = str(error)
    if "twice" not in refused:
        assert ("cross" in refused) == crosses(corners)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": ""}, "1 to 60"),
        ({"name": "x" * 61}, "1 to 60"),
        ({"name": "a\x00b"}, "printed"),
        ({"rule": ThresholdRule()}, "one of one_in, k and raw"),
        ({"rule": ThresholdRule(one_in=30, k=3.0)}, "one of one_in, k and raw"),
        ({"rule": ThresholdRule(one_in=4)}, "from 5"),
        ({"rule": ThresholdRule(k=0.5)}, "from 1 to 10"),
        ({"rule": ThresholdRule(raw=0.0)}, "above 0"),
        ({"rule": ThresholdRule(raw=math.nan)}, "above 0"),
        ({"rule": ThresholdRule(raw=1e300)}, "that scores can exceed"),
        ({"decision": Decision("n_of_m", 4, 3)}, "1 ≤ n ≤ m"),
        ({"decision": Decision("n_of_m", 1, 51)}, "1 ≤ n ≤ m"),
        ({"decision": Decision("hysteresis", release=1.5)}, "release"),
        ({"options": StreamOptions(0.0)}, "max_fps"),
        ({"regions": Regions((SQUARE,) * 9, (SQUARE,) * 9)}, f"{MOST_POLYGONS} regions"),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_reason(changes: dict[str, object], why: str) -> None:
    import msgspec

    with pytest.raises(RecipeError, match=why):
        check(msgspec.structs.replace(RECIPE, **changes))


def test_a_name_loses_its_blanks() -> None:
    assert check_name("  big \n bottle ") == "big bottle"
    assert check(RECIPE) is RECIPE
