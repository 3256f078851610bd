from __future__ import annotations

import subprocess
import sys


def test_a_web_process_loads_neither_networks_nor_protocols_it_does_not_speak() -> None:
    heavy = ("torch", "monai", "scipy", "pynetdicom", "celery", "highdicom", "minio", "imagecodecs")
    code = f"import sys, api; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
