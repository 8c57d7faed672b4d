"""Node.js for tests: the modules of package.json beside this file, and esbuild, which bundles programs with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
NODE = shutil.which("node") or ""
needs_node = pytest.mark.skipif(
    not NODE or not (MODULES / ".bin" / "esbuild").exists(),
    reason="no Node.js, or none of its modules: npm ci --prefix tests/integrations",
)


@cache
def bundle(name: str, platform: str) -> Path:
    """A program with all that it imports, for `node` or `browser`."""
    made = Path(mkdtemp(prefix="visitstats-")) / name
    command = [
        str(MODULES / ".bin" / "esbuild"), str(HERE / name), "--bundle", f"--platform={platform}", f"--outfile={made}",
        "--format=esm" if platform == "node" else "--format=iife", "--log-level=warning",
        "--banner:js=import{createRequire}from'module';const require=createRequire(import.meta.url);"
        if platform == "node" else "--define:process.env.NODE_ENV=\"development\"",
        "--define:__VUE_OPTIONS_API__=true", "--define:__VUE_PROD_DEVTOOLS__=false",
        "--define:__VUE_PROD_HYDRATION_MISMATCH_DETAILS__=true",
    ]  # fmt: skip
    # What the files of widget/integrations import is found here.
    subprocess.run(command, env={**os.environ, "NODE_PATH": str(MODULES)}, check=True, timeout=60)
    return made


def node(name: str, case: Any) -> Any:
    """What a program answers to this."""
    done = subprocess.run(
        [NODE, str(bundle(name, "node"))], input=json.dumps(case), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
