"""Pictures that change their size, or have another shape than was taught."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.streams.shape import Shape, Size
from server.words import Transport


def warnings(*sizes: Size, transport: Transport = "websocket", taught: tuple[float, float] | None = None) -> set[str]:
    shape = Shape(transport)
    for size in sizes:
        shape.see(size)
    return set(shape.warnings(taught))


@pytest.mark.parametrize("transport", ["websocket", "camera"])
def test_a_size_that_changes_in_mid_stream_is_said_until_it_is_back(transport: Transport) -> None:
    assert warnings((640, 480), (640, 480), transport=transport) == set()
    assert warnings((640, 480), (1280, 960), transport=transport) == {"changed size"}
    assert warnings((640, 480), (1280, 720), transport=transport) == {"changed shape"}
    assert warnings((640, 480), (1280, 720), (640, 480), transport=transport) == set()


def test_a_browser_that_adapts_to_the_network_is_no_event_but_one_that_is_turned_is() -> None:
    assert warnings((320, 240), (640, 480), (640, 478), transport="webrtc") == set()
    assert warnings((640, 480), (480, 640), transport="webrtc") == {"changed shape"}


@pytest.mark.parametrize(
    ("size", "taught", "found"),
    [
        ((640, 480), None, set()),
        ((640, 480), (1.3333, 1.3333), set()),
        ((1280, 958), (1.3333, 1.3333), set()),
        ((640, 480), (1.0, 1.0), {"not as taught"}),
        ((480, 480), (1.3333, 1.3333), {"not as taught"}),
        ((640, 480), (1.0, 1.7778), set()),
        ((1920, 1080), (1.0, 1.3333), {"not as taught"}),
    ],
)
def test_another_shape_than_was_taught_is_said(size: Size, taught: tuple[float, float] | None, found: set[str]) -> None:
    assert warnings(size, taught=taught) == found


def test_the_words_name_both_shapes() -> None:
    shape = Shape("websocket")
    assert shape.warnings((1.0, 1.0)) == {}, "nothing came yet"
    shape.see((640, 480))
    (words,) = shape.warnings((1.0, 1.0)).values()
    assert "640×480" in words and "1.33 times" in words and "taught were 1.00" in words


sides = st.integers(16, 16_384)


@given(st.lists(st.tuples(sides, sides), min_size=1), st.none() | st.tuples(st.floats(0.001, 1), st.floats(1, 1000)))
def test_any_sizes_can_come(sizes: list[Size], taught: tuple[float, float] | None) -> None:
    found = warnings(*sizes, taught=taught)
    assert not found & {"changed size", "changed shape"} or sizes[0] != sizes[-1]
