"""Roots as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncron_lib.fs.reach import resolved


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"", b""),
        (b"below", b"/below"),
        (b"~", b""),
        (b"~/below", b"/below"),
        (b"~nobody-has-this-name/x", b"/~nobody-has-this-name/x"),
        ("~zoë/x".encode(), "/~zoë/x".encode()),
        (b"~\xff", b"/~\xff"),
        (b"a~b", b"/a~b"),
    ],
)
def test_what_is_relative_lies_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes, meant: bytes
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolved(written) == bytes(tmp_path.resolve()) + meant


def test_a_users_name_stands_for_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    assert resolved(b"~root/x") == b"/root/x"
