"""What is shipped: all that the helper needs, and nothing that a bare Python has not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import syncron_lib
from syncron_lib.core.location import Remote
from syncron_lib.transport import archive
from syncron_lib.transport.connect import ConnectOptions, connect

ROOT = Path(syncron_lib.__file__).parent

OPTIONAL = {"pyfastcdc", "xxhash", "zstandard"}
"""Used where the remote has them."""


def _modules() -> dict[str, str]:
    return archive.closure("syncron_lib.helper.main", ROOT)


def _imports(source: str, package: str) -> set[str]:
    """Every module that a source may import, found by parsing."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {package}"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _exists(name: str) -> str | None:
    path = ROOT.parent.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file():
        return name
    return f"{name}." if (path / "__init__.py").is_file() else None


def test_the_closure_is_what_parsing_finds():
    found: set[str] = set()
    waiting = ["syncron_lib.helper.main"]
    while waiting:
        name = waiting.pop()
        key = _exists(name)
        if key is None or key in found:
            continue
        found.add(key)
        path = ROOT.parent.joinpath(*name.split("."))
        source = (
            path / "__init__.py" if key.endswith(".") else path.with_suffix(".py")
        ).read_text()
        names = {n for n in _imports(source, name) if n.partition(".")[0] == "syncron_lib"}
        names |= {n.rpartition(".")[0] for n in names} | {name.rpartition(".")[0]}
        waiting += sorted(names - {""})
    assert set(_modules()) == found


def test_the_closure_stands_on_the_standard_library_alone():
    for name, source in _modules().items():
        tops = {n.partition(".")[0] for n in _imports(source, name)}
        assert tops - {"syncron_lib"} <= set(sys.stdlib_module_names) | OPTIONAL, name


def test_the_closure_reaches_nothing_of_the_client():
    for name in _modules():
        assert not name.startswith(("syncron_lib.cli", "syncron_lib.session")), name
    assert "syncron_lib.transport.ssh" not in _modules()


def test_the_closure_holds_nothing_of_keys():
    assert not [name for name in _modules() if name.startswith("syncron_lib.secure")]
    for name, source in _modules().items():
        reached = _imports(source, name)
        assert not [n for n in reached if "cryptography" in n or "syncron_lib.secure" in n], name


def test_the_same_sources_give_the_same_digest():
    first, second = archive.build(), archive.build()
    assert first == second
    assert len(first.digest) == 64
    changed = archive.pack({**_modules(), "syncron_lib.errors": "# changed"}, archive.ENTRY)
    assert changed.digest != first.digest


def test_an_installed_package_packs_the_same_archive(tmp_path):
    """From a copy elsewhere, as a wheel's is, and whatever the current directory."""
    target = tmp_path / "site"
    target.mkdir()
    subprocess.run(["cp", "-r", str(ROOT), str(target)], check=True)
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from syncron_lib.transport import archive; print(archive.build().digest)",
        ],
        cwd="/",
        env={"PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout.strip() == archive.build().digest


def test_the_real_helper_starts_over_ssh(sshd, options):
    for how in ("shipped", "cached"):
        connection = connect(Remote("target", None, None, b""), options(sshd.config), ship=True)
        assert connection.how == how
        # It speaks first: its greeting.
        assert connection.stream.receive_into(memoryview(bytearray(1))) == 1
        connection.stream.close()


def test_the_real_helper_starts_without_anything_installed(tmp_path, home, options):
    """Nothing but the standard library: no site-packages, as on a bare machine."""
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    script = tmp_path / "rsh"
    script.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n')
    script.chmod(0o755)
    chosen = ConnectOptions(rsh=str(script), remote_python=str(bare), timeout=15, home=str(home))
    connection = connect(Remote("target", None, None, b""), chosen)
    assert connection.how == "shipped"
    assert connection.stream.receive_into(memoryview(bytearray(1))) == 1
    connection.stream.close()
