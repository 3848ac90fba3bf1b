"""Runs a Python module, in an image without a shell, with the secrets that it is given as files.

The file /run/secrets/phoenix_secret is its variable PHOENIX_SECRET. As with-secrets.sh, for Phoenix, which reads the
environment only: `python with-secrets.py phoenix.server.main serve`.
"""

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    for file in Path(os.environ.get("SECRETS_DIR", "/run/secrets")).iterdir():
        if file.is_file():
            os.environ[file.name.upper()] = file.read_text().strip()
    sys.argv = sys.argv[1:]
    sys.path.pop(0)  # this file's directory
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
