from __future__ import annotations

import pytest

from pipeline.measures.touchpoints import doubted, nearest, unknown

KNOWN = ("checkout", "payment", "support_desk", "search")


def test_unknown_is_what_nobody_named_where_somebody_names_any() -> None:
    assert unknown(["checkout", "chekout", "chekout", "", "Checkout"], KNOWN) == ["Checkout", "chekout"]
    assert unknown(["chekout"], ()) == []
    assert unknown([], KNOWN) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("chekout", "checkout"),
        ("Check-Out", "checkout"),
        ("chcekout", "checkout"),
        ("support desk", "support_desk"),
        ("supportdesk", "support_desk"),
        ("paymnt", "payment"),
        ("refund", None),
        ("kasse", None),
        ("", None),
        ("!!!", None),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant_or_none(name: str, meant: str | None) -> None:
    assert nearest(name, KNOWN) == meant
    assert doubted(name, KNOWN) == (f"{name} (did you mean {meant}?)" if meant else name)


def test_of_two_that_are_written_alike_the_choice_does_not_hang_on_their_order() -> None:
    alike = ["check_out", "checkout", "check-out"]
    assert {nearest("chekout", order) for order in (alike, alike[::-1])} == {"check-out"}
