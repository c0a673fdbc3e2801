"""How this machine's pip reaches its index, lent to a build and never left in what is built.

pip takes its configuration from files and from the environment. All of it is written to one file that a build mounts as
/etc/pip.conf, and the local files and directories that it names are mounted where they are.
"""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.processes import run


@dataclass(frozen=True, slots=True)
class PipConfiguration:
    """Values by the name of pip's option, such as `index-url`."""

    values: dict[str, str]

    @classmethod
    def of_this_machine(cls) -> PipConfiguration:
        values: dict[str, str] = {}
        from_environment: dict[str, str] = {}
        for line in run([sys.executable, "-m", "pip", "config", "list"], 60.0).splitlines():
            name, separator, text = line.partition("=")
            section, _, option = name.rpartition(".")
            if separator and section in (":env:", "global", "install"):
                (from_environment if section == ":env:" else values)[option] = str(ast.literal_eval(text))
        values |= from_environment
        # pip trusts what these name as well.
        for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            if os.environ.get(variable):
                values.setdefault("cert", os.environ[variable])
        return cls(values)

    def paths(self) -> list[Path]:
        """What of this machine the values name."""
        words = [word for value in self.values.values() for word in value.split()]
        return sorted({Path(word) for word in words if word.startswith("/") and Path(word).exists()})

    def secrets(self) -> list[str]:
        """Words that must not be found in what was built: addresses of indexes, and local paths. A bundle of
        certificates under /etc is where any Debian has its own."""
        words = {word for value in self.values.values() for word in value.split()}
        return sorted(
            word for word in words if "://" in word or (word.startswith("/") and not word.startswith("/etc/"))
        )

    def mounts(self, file: Path) -> list[str]:
        """Arguments of a build, once the file is written."""
        lines = [f"{name} = {' '.join(value.split())}\n" for name, value in sorted(self.values.items())]
        file.write_text("[global]\n" + "".join(lines), encoding="utf-8")
        pairs = [(str(path), str(path)) for path in self.paths()] + [(str(file), "/etc/pip.conf")]
        return [f"--volume={source}:{target}:ro" for source, target in pairs]
