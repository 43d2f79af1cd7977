"""The files that pages load."""

from kassa.checkout import assets
from kassa.checkout.assets import find, own_colour, stylesheet


def test_thousands_of_colours_are_kept_and_a_thought_up_one_throws_none_out() -> None:
    own_colour.cache_clear()
    for number in range(300):
        own_colour(f"#{number:06x}")
    for number in range(300, 400):
        assert find(f"colour-{number:06x}.0123456789abcdef.css") is None
    kept = own_colour.cache_info()
    assert (kept.currsize, kept.misses) == (300, 300)
    for number in range(300):
        made = own_colour(f"#{number:06x}")
        assert find(made.name) == made
    assert own_colour.cache_info().misses == 300


def test_a_colour_is_a_few_rules_beside_the_one_stylesheet() -> None:
    assert len(own_colour("#ff6600").body) < 200
    assert find(stylesheet().name) is stylesheet()
    assert assets.find("colour-nothex.0123456789abcdef.css") is None
