"""Cells that no spreadsheet runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.web.spreadsheet import cell


@given(st.text(alphabet=" \t\r\n\v\f\xa0\u200b\u202e\ufeff\u3000\0", max_size=5), st.sampled_from("=+-@＝＋－＠"))
def test_no_blank_hides_a_formula(blanks: str, sign: str) -> None:
    text = f"{blanks}{sign}1+1"
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "A-1", " a note", "1=1", "press", "ä", "   "])
def test_all_else_stays_as_it_is(text: str) -> None:
    assert cell(text) == text
