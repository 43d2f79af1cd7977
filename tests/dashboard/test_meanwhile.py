"""Two people change the settings at once: what one of them saved is undone by nobody who was not told of it."""

import json
from base64 import b64encode
from typing import Any

from kassa.dashboard.pages.settings import merged
from kassa.people.model import Role
from tests.dashboard.test_daily import fault_at
from tests.dashboard.visitor import Forms, Premises, Visitor
from tests.images import png

OTHERS = {"tolerance_percent": "0.1", "redirect_origins": "https://shop.example", "name": "Hats"}


def test_a_field_that_was_left_alone_follows_and_what_was_typed_stays() -> None:
    was = {"left": "0", "typed": "0", "mine": "0", "same": "0"}
    typed = {"left": "0", "typed": "1", "mine": "1", "same": "2", "version": "1"}
    values, said = merged(was, typed, {"left": "2", "typed": "2", "mine": "0", "same": "2", "unsent": "2"})
    assert values == typed | {"left": "2"}
    assert said == {
        "left": 'was "0" when you opened this page, and is "2" by now',
        "typed": 'is "2" by now; "1", which you typed, would replace it',
    }


def test_what_is_not_known_to_be_left_alone_counts_as_typed() -> None:
    assert merged({}, {"left": "0"}, {"left": "2"})[0] == {"left": "0"}


async def settings(premises: Premises) -> dict[str, Any]:
    row = await premises.house.database.pool.fetchrow(
        "select name, spread_ppm, tolerance_ppm, redirect_origins, logo is not null as has_logo, version from stores"
    )
    assert row is not None
    return dict(row)


async def two(premises: Premises, **others: str) -> Visitor:
    """Return an owner who opened the settings before an admin changed them."""
    owner, admin = await premises.member(Role.OWNER), await premises.member(Role.ADMIN)
    for each in (owner, admin):
        await each.open(premises.at("settings"))
    assert (await admin.submit("/settings", **others)).status == 200, admin.seen.words
    return owner


async def test_saving_again_keeps_what_the_other_one_changed(premises: Premises) -> None:
    owner = await two(premises, **OTHERS | {"name": "Test shop"})
    seen = await owner.submit("/settings", spread_percent="1.5")
    assert seen.status == 409
    assert "The store was changed meanwhile, and nothing of this was saved" in seen.words
    assert "<b></b>" not in seen.text
    assert "is &#34;0.1&#34; by now" in fault_at(seen.text, "tolerance_percent")
    assert "is &#34;https://shop.example&#34; by now" in fault_at(seen.text, "redirect_origins")
    assert (await settings(premises))["spread_ppm"] == 0
    assert (await owner.submit("/settings")).status == 200
    stands = await settings(premises)
    assert (stands["spread_ppm"], stands["tolerance_ppm"]) == (15_000, 1_000)
    assert stands["redirect_origins"] == ["https://shop.example"]


async def test_what_both_changed_is_saved_after_the_others_was_shown(premises: Premises) -> None:
    owner = await two(premises, name="Hats")
    seen = await owner.submit("/settings", name="Caps")
    assert fault_at(seen.text, "name") == "is &#34;Hats&#34; by now; &#34;Caps&#34;, which you typed, would replace it"
    assert 'value="Caps"' in seen.text
    assert (await settings(premises))["name"] == "Hats"
    assert (await owner.submit("/settings")).status == 200
    assert (await settings(premises))["name"] == "Caps"


async def test_a_third_change_between_is_told_of_too(premises: Premises) -> None:
    owner = await two(premises, name="Hats")
    await owner.submit("/settings", spread_percent="1")
    await premises.house.database.pool.execute("update stores set name = 'Shoes', version = version + 1")
    seen = await owner.submit("/settings")
    assert (seen.status, "is &#34;Shoes&#34; by now" in fault_at(seen.text, "name")) == (409, True)
    await owner.submit("/settings")
    assert (await settings(premises))["name"] == "Shoes"


async def test_a_fault_in_the_form_hides_no_change_of_somebody_else(premises: Premises) -> None:
    owner = await two(premises, name="Hats")
    assert (await owner.submit("/settings", spread_percent="a lot")).status == 422
    seen = await owner.submit("/settings", spread_percent="1")
    assert (seen.status, "is &#34;Hats&#34; by now" in fault_at(seen.text, "name")) == (409, True)


async def test_of_a_page_that_does_not_say_what_it_was_no_logo_is_said_to_have_changed(premises: Premises) -> None:
    owner = await two(premises, name="Hats")
    seen = await owner.submit("/settings", was="", spread_percent="1")
    assert (seen.status, 'id="e-logo"' in seen.text) == (409, False)


async def test_a_logo_that_was_chosen_is_kept_where_another_came_meanwhile(premises: Premises) -> None:
    logo = b64encode(png(4, 3)).decode()
    owner = await two(premises, logo=logo)
    seen = await owner.submit("/settings", spread_percent="1")
    assert '<p class="fault" id="e-logo">was changed meanwhile</p>' in seen.text
    seen = await owner.submit("/settings", no_logo="yes")
    assert (await settings(premises))["has_logo"] is False
    await premises.house.database.pool.execute(
        "update stores set version = version + 1, logo = 'x', logo_hash = 'other'"
    )
    seen = await owner.submit("/settings", logo=logo)
    assert '<p class="fault" id="e-logo">was changed meanwhile; what you chose would replace it</p>' in seen.text
    assert Forms(seen.text).found[-1][1]["logo"] == [logo]


async def test_a_form_that_says_nothing_of_what_it_was_loses_nothing_unseen(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    for number, was in enumerate(("", "[]", "{", json.dumps({"name": 5, "logo": None}), "[" * 20_000)):
        await owner.open(premises.at("settings"))
        await premises.house.database.pool.execute(
            "update stores set name = $1, version = version + 1", f"Hats {number}"
        )
        seen = await owner.submit("/settings", was=was)
        assert (seen.status, f"is &#34;Hats {number}&#34; by now" in fault_at(seen.text, "name")) == (409, True)
