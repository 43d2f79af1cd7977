"""E27: what is logged carries neither secrets nor anything that a terminal would obey."""

import fcntl
import os
import socket
import threading
from contextlib import suppress

import pytest

from kassa import logs
from kassa.logs import LONGEST, _Lossy, cleaned

KEY = "kassa_test_" + "x" * 43
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQAfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {KEY}", "xxxx"),
        (f"key {KEY} refused", "xxxx"),
        (f"secret={SECRET}", "MfKQ9"),
        (f"wpkh({PRIVATE}/0/*)", "8ZgxMB"),
        ("http://user:hunter2@127.0.0.1:8332/", "hunter2"),
        ("http://user:p@ssword@127.0.0.1:8332/", "ssword"),
        ("postgresql://kassa:hunter2@db/kassa", "hunter2"),
        ("postgresql://db/kassa?user=kassa&password=hunter2", "hunter2"),
        ("https://node.example/rpc?apikey=0123456789abcdef", "89abcdef"),
        ("https://mainnet.example/v3/0123456789abcdef0123456789abcdef refused", "89abcdef"),
        ("wss://eth.example/v2/aBc_dEf-gHiJkLmNoPqRsTuVw", "gHiJkL"),
        ("https://pay.example/dashboard/invitation/aBcdEfgHiJkLmNoPqRsTuVwXyZ01", "gHiJkL"),
        ("identity AGE-SECRET-KEY-1QQPQYZ3MM", "QPQYZ"),
        ("Basic dXNlcjpodW50ZXIy", "dXNlcj"),
    ],
)
def test_a_secret_in_a_text_is_redacted(text: str, secret: str) -> None:
    assert secret not in str(cleaned(text))
    assert "redacted" in str(cleaned(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://pay.example/i/inv_06f3kyd00h7gv8e2m1q9xb4tn5rzw",
        f"https://explorer.example/tx/{'0a' * 32}",
        f"https://explorer.example/tx/0x{'0a' * 32}?page=2",
        "http://bitcoin-node-of-the-shop:8332/rest/chaininfo.json",
        "https://a-very-long-name-of-a-host/hook",
    ],
)
def test_what_tells_an_operator_where_to_look_is_kept(text: str) -> None:
    assert cleaned(text) == text


def test_a_secret_at_the_cut_is_redacted_too() -> None:
    url = "postgresql://kassa:hunter2-and-more-of-it@db/kassa"
    for before in range(LONGEST - len(url), LONGEST):
        shown = str(cleaned("x" * before + " " + url))
        assert "hunter" not in shown
        assert len(shown) <= LONGEST


@pytest.mark.parametrize("text", ["a\nfake line", "a\r\nb", "\x1b[31mred", "a\x00b", "\u202eright to left", "a\u2028b"])
def test_nothing_that_moves_a_cursor_is_logged(text: str) -> None:
    assert str(cleaned(text)).isprintable()


def test_a_stack_keeps_its_lines_and_nothing_else() -> None:
    assert cleaned("one\ntwo\x1b[0m", stack=True) == "one\ntwo\\x1b[0m"


def test_a_text_is_cut() -> None:
    assert len(str(cleaned("x" * 10**6))) == LONGEST


def test_numbers_stay_numbers() -> None:
    assert [cleaned(value) for value in (5, True, None)] == [5, True, None]


def test_two_who_share_a_full_pipe_wait_for_nobody() -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4_096)
    os.set_blocking(reads, False)
    with open(writes, "w") as stream:  # a descriptor
        logs, together = [_Lossy(stream) for _ in range(2)], threading.Barrier(2)

        def write(log: _Lossy) -> None:
            for _ in range(300):
                together.wait(10)
                with suppress(BlockingIOError):
                    os.read(reads, 1 << 16)
                together.wait(10)
                log.write("x" * 4_000)
                log.flush()

        writers = [threading.Thread(target=write, args=(log,), daemon=True) for log in logs]
        for each in writers:
            each.start()
        for each in writers:
            each.join(60)
        stuck = [each for each in writers if each.is_alive()]
        if stuck:
            os.read(reads, 1 << 16)
        assert stuck == []
    os.close(reads)


def test_a_socket_that_somebody_else_has_filled_is_not_waited_for() -> None:
    """What systemd gives a service for its log is one; others may fill it after it was said to take something."""
    reads, writes = socket.socketpair()
    with reads, writes, open(os.dup(writes.fileno()), "w") as stream:  # a descriptor
        log, told = _Lossy(stream), []
        with suppress(BlockingIOError):
            while True:
                writes.send(bytes(4_096), socket.MSG_DONTWAIT)

        def write() -> None:
            try:
                log._send(memoryview(b"x" * 4_000))
            except BlockingIOError:
                told.append("full")

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        writer.join(5)
        assert told == ["full"]


def test_what_is_named_like_a_secret_is_redacted_whatever_it_looks_like() -> None:
    event = logs._clean(None, "info", {"password": "plain", "api_key": "short", "network": "bitcoin"})
    assert event == {"password": "[redacted]", "api_key": "[redacted]", "network": "bitcoin"}
