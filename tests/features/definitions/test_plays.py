from features.catalog import FEATURES
from features.definitions.plays import DEFAULT, PLAYS, choose_play


def driver(play, contribution, *, actionable=True):
    return {"text": "", "play": play, "contribution": contribution, "actionable": actionable}


def test_every_play_that_a_feature_names_is_there():
    assert {f.play for f in FEATURES.values() if f.play} <= set(PLAYS)


def test_every_play_but_the_default_is_named_by_a_feature():
    assert set(PLAYS) - {f.play for f in FEATURES.values()} == {
        DEFAULT.key,
        "keep_promise",
    }  # promises are no feature yet


def test_the_strongest_driver_that_can_be_acted_on_gives_the_play():
    drivers = [driver(None, 3.0, actionable=False), driver("talk_price", 0.5), driver("fix_service", 0.9)]
    assert choose_play(drivers).key == "fix_service"


def test_a_driver_that_lowers_the_risk_gives_no_play():
    assert choose_play([driver("fix_service", -2.0)]) is DEFAULT


def test_without_a_driver_to_act_on_the_default_is_chosen():
    assert choose_play([]) is DEFAULT
    assert choose_play([driver(None, 3.0, actionable=False)]) is DEFAULT
    assert choose_play([driver("retired_play", 1.0)]) is DEFAULT
