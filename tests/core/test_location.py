"""SRC and DST: which are local, which remote, and what they name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.location import Local, Remote, parse_location
from syncron_lib.errors import UsageError


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("dir", Local(b"dir")),
        ("./a:b", Local(b"./a:b")),
        ("/a:b", Local(b"/a:b")),
        ("a/b:c", Local(b"a/b:c")),
        (".", Local(b".")),
        ("~/x", Local(b"~/x")),
        ("caf\udce9", Local(b"caf\xe9")),
        ("[x]", Local(b"[x]")),
        ("/srv/[::1]:x", Local(b"/srv/[::1]:x")),
        ("-x", Local(b"-x")),
        ("http/x", Local(b"http/x")),
        ("host:", Remote("host", None, None, b"")),
        ("host:~", Remote("host", None, None, b"")),
        ("host:~/x/y", Remote("host", None, None, b"x/y")),
        ("host:~bob/x", Remote("host", None, None, b"~bob/x")),
        ("host:dir", Remote("host", None, None, b"dir")),
        ("host:/dir/", Remote("host", None, None, b"/dir/")),
        ("host:a:b", Remote("host", None, None, b"a:b")),
        ("host:\udcff", Remote("host", None, None, b"\xff")),
        ("user@host:dir", Remote("host", "user", None, b"dir")),
        ("user@corp@host:dir", Remote("host", "user@corp", None, b"dir")),
        ("[::1]:dir", Remote("::1", None, None, b"dir")),
        ("user@[fe80::1%eth0]:/d", Remote("fe80::1%eth0", "user", None, b"/d")),
        ("ssh://host/dir", Remote("host", None, None, b"/dir")),
        ("ssh://host", Remote("host", None, None, b"")),
        ("ssh://host/", Remote("host", None, None, b"/")),
        ("ssh://host/~", Remote("host", None, None, b"")),
        ("ssh://host/~/x", Remote("host", None, None, b"x")),
        ("ssh://user@host:2222/a/b", Remote("host", "user", 2222, b"/a/b")),
        ("ssh://[::1]:22/x", Remote("::1", None, 22, b"/x")),
        ("ssh://[::1]/x", Remote("::1", None, None, b"/x")),
        ("ssh://host/a%20b", Remote("host", None, None, b"/a b")),
        ("SSH://host/a", Remote("host", None, None, b"/a")),
    ],
)
def test_parses(argument, expected):
    assert parse_location(argument) == expected


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("", "empty"),
        (":dir", "host before the colon is missing"),
        ("@host:dir", "user before the @ is missing"),
        ("-oProxyCommand=x:dir", "dash"),
        ("user@-host:dir", "dash"),
        ("-user@host:dir", "dash"),
        ("ssh://-host/dir", "dash"),
        ("ssh://user@-host/dir", "dash"),
        ("ssh:///dir", "missing"),
        ("host::module", "daemon"),
        ("user@host::module/x", "daemon"),
        ("rsync://host/module", "daemon"),
        ("ssh://host:0/x", "port"),
        ("ssh://host:65536/x", "port"),
        ("ssh://host:ssh/x", "port"),
        ("ssh://host:²/x", "port"),
        ("ssh://[::1/x", "brackets"),
        ("[a:x", "brackets"),
        ("fe80::1:x", "brackets"),
        ("ho st:x", "not a host name"),
        ("ho\x1bst:x", "not a host name"),
        ("ssh://host/a%00b", "NUL"),
        ("a\0b", "NUL"),
    ],
)
def test_refuses_in_one_line(argument, says):
    with pytest.raises(UsageError) as refused:
        parse_location(argument)
    assert says in refused.value.message
    assert refused.value.message.isprintable()
    assert refused.value.exit_code == 1


@pytest.mark.parametrize(
    "argument",
    ["dir", "host:", "host:x", "user@host:/x", "[::1]:x", "ssh://u@host:22/x", "ssh://h:22/~/x"],
)
def test_shown_can_be_given_again(argument):
    location = parse_location(argument)
    assert parse_location(location.shown()) == location


def test_shown_is_one_safe_line():
    assert parse_location("host:a\nb\x1b[31m").shown() == "host:a\\#012b\\#033[31m"
    assert parse_location("a\udcffb").shown() == "a\\#377b"


@given(st.text(max_size=40))
def test_any_argument_is_parsed_or_refused(argument):
    try:
        location = parse_location(argument)
    except UsageError:
        return
    if isinstance(location, Local):
        assert location.path == argument.encode("utf-8", "surrogateescape")
    else:
        assert location.host
        assert not location.host.startswith("-")
