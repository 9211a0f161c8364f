"""What is spared at importing paramiko is not missing afterwards."""

from __future__ import annotations

import subprocess
import sys

_LOADED = """
import sys
from syncron_lib.transport.paramiko_library import load
paramiko = load()
assert load() is paramiko
told = paramiko.__version__
spared = [name for name in ("invoke", "importlib.metadata") if name in sys.modules]
from importlib import metadata
print(told == metadata.version("paramiko"), told in paramiko.Transport._CLIENT_ID, spared)
"""

_AFTER = """
import sys
from importlib import metadata
from syncron_lib.transport.paramiko_library import load
told = load().__version__
print(told == metadata.version("paramiko"), sys.modules[metadata.__name__] is metadata)
"""


def _said(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def test_the_version_is_that_of_the_metadata_and_nothing_stands_in_for_them_afterwards() -> None:
    assert _said(_LOADED) == "True True []"


def test_metadata_that_are_loaded_are_left_alone() -> None:
    assert _said(_AFTER) == "True True"
