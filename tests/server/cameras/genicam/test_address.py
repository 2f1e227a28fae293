"""``genicam://``: what it says, and that everything else is refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cameras import check_source, is_address, shown
from server.cameras.genicam import Genicam


def test_everything_that_can_be_said() -> None:
    camera = Genicam.parse(
        "genicam://Basler%2FacA%20640?trigger=Line1&edge=falling&exposure=5000.5&gain=auto&pixels=bayerrg8"
        "&region=0,8,640,480"
    )
    assert camera == Genicam("Basler/acA 640", "Line1", "FallingEdge", 5000.5, "auto", "BayerRG8", (0, 8, 640, 480))
    assert Genicam.parse("genicam://") == Genicam()
    assert Genicam.parse("GENICAM://10.0.0.7?trigger=off") == Genicam("10.0.0.7", "Off")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("genicam://a/b", "serial number"),
        ("genicam://admin:secret@camera", "no login"),
        ("genicam://a#b", "serial number"),
        ("genicam://a%00b", "serial number"),
        ("genicam://" + "a" * 129, "serial number"),
        ("genicam://a?trigger", "each once"),
        ("genicam://a?exposure=1&exposure=2", "each once"),
        ("genicam://a?speed=3", "trigger, edge, exposure, gain, pixels, region"),
        ("genicam://a?" + "&".join(f"x{n}=1" for n in range(30)), "each once"),
        ("genicam://a?trigger=1", "Line1, Software"),
        ("genicam://a?trigger=Line1%0a", "Line1, Software"),
        ("genicam://a?edge=falling", "give trigger too"),
        ("genicam://a?trigger=off&edge=falling", "give trigger too"),
        ("genicam://a?trigger=Line1&edge=up", "rising, falling, any"),
        ("genicam://a?exposure=0", "microseconds"),
        ("genicam://a?exposure=nan", "microseconds"),
        ("genicam://a?exposure=1e9", "microseconds"),
        ("genicam://a?exposure=٣", "microseconds"),
        ("genicam://a?gain=-1", "mostly dB"),
        ("genicam://a?pixels=Mono14", "Mono8"),
        ("genicam://a?region=1,2,3", "X,Y,W,H"),
        ("genicam://a?region=0,0,0,9", "X,Y,W,H"),
        ("genicam://a?region=0,0,9,99999", "X,Y,W,H"),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(address: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_source(address)


@given(st.text(alphabet=st.sampled_from("abLine1?&=,.%0@/#2trigexpou é\n"), max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    address = f"genicam://{text}"
    assert is_address(address)
    try:
        check_source(address)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert Genicam.parse(address).device.isprintable()


def test_its_settings_are_no_secret_and_a_login_by_mistake_is() -> None:
    assert shown("genicam://GV01?trigger=Line1&exposure=500") == "genicam://GV01?trigger=Line1&exposure=500"
    assert "secret" not in shown("genicam://admin:secret@GV01?gain=1")
