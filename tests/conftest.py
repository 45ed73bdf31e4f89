"""Settings that all tests share."""

from __future__ import annotations

import atexit
import gc
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

# what a collection imports is nobody's garbage, and there is much of it: looked through again and again, by the
# collector at every so many new objects and by pytest at the end, it takes a minute of the processor
gc.disable()
# libraries that count what they made want it gone when the process ends
atexit.register(gc.unfreeze)


def pytest_collection_finish() -> None:
    """From here on the collector looks at what tests make."""
    gc.freeze()
    gc.enable()
