"""A real browser, for the tests that look at a page."""

import shutil
import subprocess

import pytest

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=4000",
)


@pytest.fixture
def chromium(tmp_path):
    """Run the browser on a file with an empty profile of its own; returns what it printed."""
    program = shutil.which("chromium") or pytest.skip("needs chromium: apt-get install chromium")

    def run(path, *options):
        own = f"--user-data-dir={tmp_path / 'browser'}"
        command = [program, *QUIET, own, *options, path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return run
