"""Stand-ins for the tools of AWS and Kubernetes, so that what a script does, and in which order, is seen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

STAND_IN = """\
#!/bin/sh
line="$(basename "$0") $*"
printf '%s\\n' "$line" >>"$CALLS"
while IFS= read -r pattern <&3; do
    IFS= read -r status <&3
    IFS= read -r after <&3
    IFS= read -r answer <&3
    case $line in
    *"$pattern"*)
        grep -qF -- "$after" "$CALLS" || continue
        printf '%b' "$answer"
        exit "$status"
        ;;
    esac
done 3<"$ANSWERS"
"""


class Tools:
    """A directory of stand-ins. One that was not told otherwise says nothing and succeeds."""

    def __init__(self, directory: Path, names: tuple[str, ...]) -> None:
        self._directory = directory
        self._calls = directory / "calls"
        self._answers = directory / "answers"
        self._calls.touch()
        self._answers.touch()
        for name in names:
            tool = directory / name
            tool.write_text(STAND_IN)
            tool.chmod(0o755)

    def answer(self, pattern: str, text: str = "", status: int = 0, after: str = "") -> None:
        """What a call that contains `pattern` says, and its exit code; from a call that contains `after` on. The first
        pattern that fits counts."""
        escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
        with self._answers.open("a") as answers:
            answers.write(f"{pattern}\n{status}\n{after}\n{escaped}\n")

    def run(self, script: Path, environment: dict[str, str], typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a script with the stand-ins before everything else."""
        return subprocess.run(
            ["sh", str(script)],
            env={
                "PATH": f"{self._directory}:{os.environ['PATH']}",
                "CALLS": str(self._calls),
                "ANSWERS": str(self._answers),
                **environment,
            },
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

    def index(self, part: str) -> int:
        """The place of the first call that contains `part`."""
        return next(number for number, call in enumerate(self.calls) if part in call)
