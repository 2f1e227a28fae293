"""``defectvision`` whose detector hangs for as long as there is a file ``hang`` in the folder it was started in.

python -m tests.page.hanging_server serve
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from detector import Detection, TaughtModel
from detector.images import BGRImage
from server import cli

if __name__ == "__main__":
    detect = TaughtModel.detect

    def detect_or_hang(model: TaughtModel, frame: BGRImage, /) -> Detection:
        while Path("hang").exists():
            time.sleep(0.02)
        return detect(model, frame)

    TaughtModel.detect = detect_or_hang  # type: ignore[method-assign]
    sys.exit(cli.main())
