"""The example in which Ultralytics and labelwise take turns runs as it stands.

See ``test_ultralytics.py`` for the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from test_ultralytics import ENVIRONMENT
from test_ultralytics import pytestmark as _marks

pytestmark = _marks
EXAMPLE = Path(__file__).parents[2] / "examples/ultralytics_loop.py"


def test_the_example_runs(tmp_path):
    own = {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "2"}
    environment = os.environ | own | {"LABELWISE": str(Path(sys.executable).with_name("labelwise"))}
    done = subprocess.run(
        [f"{ENVIRONMENT}/bin/python", EXAMPLE, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "after round 2: 24 labelled" in done.stdout
