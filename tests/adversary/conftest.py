"""What only root can bring about (other users' files, devices) is no test for anyone else."""

from __future__ import annotations

import os

collect_ignore = [] if os.geteuid() == 0 else ["test_attributes.py"]
