"""A keyring and sealed files of every interesting size."""

from __future__ import annotations

import random

import pytest

from syncron_lib.secure import keyfile
from syncron_lib.secure.keys import Keyring

CHANCE = random.Random(7)


@pytest.fixture
def keyring() -> Keyring:
    return keyfile.new(random.Random(1).randbytes)


@pytest.fixture
def other() -> Keyring:
    return keyfile.new(random.Random(2).randbytes)
