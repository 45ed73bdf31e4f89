"""Settings that all tests share."""

from __future__ import annotations

import os

# before torch is imported: one thread each, so that two cores stay two cores and sums have one order
os.environ.setdefault("OMP_NUM_THREADS", "1")
# threads that wait sleep, as the command line has it
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# tables have one width, whatever terminal the tests run in
os.environ["COLUMNS"] = "80"

import hypothesis

hypothesis.settings.register_profile("labelwise", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("labelwise")
