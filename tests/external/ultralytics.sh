#!/usr/bin/env bash
# Makes an environment with a real Ultralytics for the tests marked `ultralytics`: ultralytics.sh FOLDER (some 5 GB).
# Then: LABELWISE_ULTRALYTICS=FOLDER uv run pytest -m ultralytics tests/external
# It is only called as a program: its licence (AGPL-3.0) is not that of labelwise. Nothing is downloaded by it: models
# are built from their description and trained from nothing.
set -euo pipefail
folder=${1:?give the folder of the environment}
uv venv --quiet --python 3.11 "$folder"
uv pip install --quiet --python "$folder" ultralytics==8.4.190
YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=true "$folder/bin/yolo" version
