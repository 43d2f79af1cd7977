"""E27: a secret has to be asked for."""

import copy
import json
import pickle

import pytest

from kassa.core.secret import Secret
from kassa.settings import read_settings

TEXT = "hunter2-correct-horse"
SECRET = Secret(TEXT)


@pytest.mark.parametrize("shown", [str(SECRET), repr(SECRET), f"{SECRET:>20}", "%s" % SECRET, repr({"key": [SECRET]})])  # noqa: UP031
def test_a_secret_shows_itself_nowhere(shown: str) -> None:
    assert TEXT not in shown
    assert SECRET.reveal() == TEXT


@pytest.mark.parametrize("write", [json.dumps, pickle.dumps, copy.copy])
def test_a_secret_is_not_written_anywhere(write: object) -> None:
    with pytest.raises(TypeError):
        write(SECRET)  # type: ignore[operator]


def test_secrets_are_compared_by_what_they_hold() -> None:
    assert (Secret("a") == Secret("a"), Secret("a") == Secret("b"), Secret("a") == "a") == (True, False, False)


def test_no_secret_of_the_settings_is_in_what_they_show() -> None:
    environment = {
        "KASSA_DATABASE_URL": f"postgresql://kassa:{TEXT}@db/kassa",
        "KASSA_NETWORKS__BITCOIN__FAMILY": "bitcoin",
        "KASSA_NETWORKS__BITCOIN__CHAIN": "bitcoin",
        "KASSA_NETWORKS__BITCOIN__RPC_URL": f"http://kassa:{TEXT}@127.0.0.1:8332",
    }
    settings = read_settings(None, environment)
    assert TEXT in settings.database_url.reveal()
    assert TEXT in settings.networks["bitcoin"].rpc_url.reveal()
    assert TEXT not in repr(settings)
