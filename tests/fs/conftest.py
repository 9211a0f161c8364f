"""Which of these tests can be run by whom."""

from __future__ import annotations

import os

collect_ignore = [] if os.geteuid() == 0 else ["test_as_root.py"]
"""What only root can bring about is no test for anyone else."""
