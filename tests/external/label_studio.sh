#!/usr/bin/env bash
# Makes an environment with a real Label Studio for the tests marked `servers`: label_studio.sh FOLDER (some 800 MB).
# Then: LABELWISE_LABEL_STUDIO=FOLDER uv run pytest -m servers tests/external
set -euo pipefail
folder=${1:?give the folder of the environment}
uv venv --quiet --python 3.11 "$folder"
uv pip install --quiet --python "$folder" label-studio==1.23.2 label-studio-sdk==2.1.2
"$folder/bin/python" -c "import label_studio; print(label_studio.__version__)"
