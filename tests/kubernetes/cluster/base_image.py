"""A stand-in for the public image `python:<version>-slim`, made on this machine.

- It is Debian's minimal system of this machine's own release, with the libraries that the interpreter is linked to.
- The interpreter is one of pyenv's, copied to /usr/local; where there is none, Debian's own. The Dockerfile takes its
  version as an argument.
- Of the interpreter's packages only pip is copied. What this machine has put beside it stays here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.processes import ClusterError, run

_BOOTSTRAP_TIMEOUT_S = 600.0
_RECIPE = "1"
"""Counts the changes of what is made here, so that an image of an older recipe is not taken for it."""
_WANTED = "3.12"
_ALWAYS = ("ca-certificates", "netbase", "tzdata")
_NOT_COPIED = (
    *("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "__pycache__", "config-*", "*.a"),
    # Linked to libraries of desktops and of networks that no one has.
    *("_tkinter.*", "nis.*", "_dbm.*", "_gdbm.*"),
)
_DISPENSABLE = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`prefix` is where it is installed, or None for Debian's own. `version` is such as 3.12."""

    version: str
    prefix: Path | None
    release: str

    @classmethod
    def found(cls) -> Interpreter:
        """The latest of pyenv's that is of the wanted version, else Debian's."""
        root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        installed = [each for each in (root / "versions").glob(f"{_WANTED}.*") if (each / "bin" / "python3").exists()]
        if installed:
            latest = max(installed, key=lambda each: [int(part) for part in re.findall(r"\d+", each.name)])
            return cls(_WANTED, latest, latest.name)
        release = run(["/usr/bin/python3", "--version"], 30.0).split()[1]
        return cls(".".join(release.split(".")[:2]), None, release)

    @property
    def image(self) -> str:
        return f"python:{self.version}-slim"

    def key(self) -> str:
        """Differs when the image would."""
        made_of = [_RECIPE, self.release, str(self.prefix), _suite(), *self.packages()]
        return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]

    def packages(self) -> list[str]:
        """Of Debian, beside the minimal system."""
        if self.prefix is None:
            return sorted({*_ALWAYS, "python3", "python3-pip", "python3-venv"})
        return sorted({*_ALWAYS, *(_package_of(library) for library in self._libraries())})

    def make_root(self, target: Path) -> None:
        """The root file system of the image."""
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(self.packages())}", _suite(), str(target)]
        run([*command, _mirror()], _BOOTSTRAP_TIMEOUT_S)
        for directory in _DISPENSABLE:
            shutil.rmtree(target / directory, ignore_errors=True)
            (target / directory).mkdir()
        programs = target / "usr" / "local" / "bin"
        if self.prefix is None:
            (programs / "python").symlink_to("/usr/bin/python3")
            return
        name = f"python{self.version}"
        library, destination = self.prefix / "lib", target / "usr" / "local" / "lib"
        shutil.copytree(library / name, destination / name, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
        for shared in library.glob("libpython3*.so*"):
            shutil.copy2(shared, destination, follow_symlinks=False)
        for pip in (library / name / "site-packages").glob("pip*"):
            shutil.copytree(pip, destination / name / "site-packages" / pip.name)
        shutil.copy2(self.prefix / "bin" / name, programs / name)
        for link in ("python", "python3"):
            (programs / link).symlink_to(name)
        run(["chroot", str(target), "ldconfig"], 60.0)

    def _libraries(self) -> Iterator[Path]:
        assert self.prefix is not None
        modules = (self.prefix / "lib" / f"python{self.version}" / "lib-dynload").glob("*.so")
        kept = [each for each in modules if not any(each.match(pattern) for pattern in _NOT_COPIED)]
        linked = run(["ldd", str(self.prefix / "bin" / "python3"), *map(str, sorted(kept))], 60.0)
        for path in sorted(set(re.findall(r"=> (/\S+)", linked))):
            if not Path(path).is_relative_to(self.prefix):
                yield Path(path)


def _package_of(library: Path) -> str:
    """dpkg knows a library by one of the names that /lib and /usr/lib, being the same, give it."""
    for name in (library, library.resolve(), Path("/usr", *library.parts[1:])):
        try:
            return run(["dpkg", "--search", str(name)], 60.0).partition(":")[0]
        except ClusterError:
            continue
    raise ClusterError(f"no Debian package has {library}, which the interpreter needs")


def _suite() -> str:
    """This machine's release of Debian: the interpreter is linked to its libraries."""
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    found = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    if found is None or "ID=debian" not in release:
        raise ClusterError("the image is made from Debian's packages: run this on Debian 12 or later")
    return found[1]


def _mirror() -> str:
    """Where this machine takes its packages from."""
    targets = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    for line in run(targets, 60.0).splitlines():
        codename, _, mirror = line.partition(" ")
        if codename == _suite():
            return mirror
    raise ClusterError(f"apt has no source for {_suite()}")
