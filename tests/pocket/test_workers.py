"""Puppets are drawn by other processes whatever the program did before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

AFTER_THREADS = """
import sys
from pathlib import Path
import cv2, numpy as np
from pocket.data.puppets.export import make_sprites

if __name__ == "__main__":
    cv2.setNumThreads(4)
    for _ in range(20):
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)
    make_sprites(Path(sys.argv[1]), 3, 1, 2)
"""


def test_puppets_after_opencv_ran_on_threads(tmp_path: Path) -> None:
    """A forked worker hung here for ever, since it had no such threads to end."""
    script, out = tmp_path / "draw.py", tmp_path / "puppets.npz"
    script.write_text(AFTER_THREADS, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, str(script), str(out)], check=True, timeout=120, env=environment)
    with np.load(out) as drawn:
        assert drawn["pixels"].shape == (3, 4, 192, 192)
