"""Files of variables are read as systemd reads them."""

from pathlib import Path

import pytest

from kassa.core.errors import SettingsError
from kassa.settings.env_file import read_env_file

# Most of them are those by which systemd tries its own reading (src/test/test-env-file.c).
READ = [
    ("a=b", {"a": "b"}),
    ("a=a\n  a=b\nc=\nd= ", {"a": "b", "c": "", "d": ""}),
    ("b=b\\\nc\nd= d\\\ne  \\\nf  \ng=g\\ \nh= ąęół\\ śćńźżμ \ni=i\\", {"b": "bc", "d": "de  f", "g": "g ",
     "h": "ąęół śćńźżμ", "i": "i"}),
    ("# a=b\n ; a=b\n\nnothing\nb=c\n", {"b": "c"}),
    ("a=\\ \\n \\t \\x \\y \\' \nb= \\$' \n", {"a": " n t x y '", "b": "$'"}),
    ("c= ' \\n\\t\\$\\`\\\\\n' \nd= \" \\n\\t\\$\\`\\\\\n\" \n", {"c": " \\n\\t\\$\\`\\\\\n", "d": " \\n\\t$`\\\n"}),
    ("a='b' \"c\" d e\n", {"a": "bcd e"}),
    ('a="b\\\nc"\n', {"a": "bc"}),
    ("=b\n \t =c\na =b\n", {"a": "b"}),
    # What a shell would read otherwise, or do.
    ("KASSA_DATABASE_URL=postgresql://k:p&$x`;#%25@db/kassa?a=b", {"KASSA_DATABASE_URL":
     "postgresql://k:p&$x`;#%25@db/kassa?a=b"}),
    ('N=[{ up_to = "100 EUR", blocks = 1 }, { blocks = 6 }]\r\nb=c\r\n', {
     "N": '[{ up_to = "100 EUR", blocks = 1 }, { blocks = 6 }]', "b": "c"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_file_of_variables_is_read_as_systemd_does(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    (tmp_path / "kassa.env").write_bytes(text.encode())
    assert read_env_file(tmp_path / "kassa.env") == expected


@pytest.mark.parametrize("content", [None, b"a=\xff"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "kassa.env").write_bytes(content)
    with pytest.raises(SettingsError, match=r"kassa\.env cannot be read: (No such file|it is not UTF-8)"):
        read_env_file(tmp_path / "kassa.env")
