from __future__ import annotations

import subprocess
import sys

import gossipkv


def test_every_public_name_is_there() -> None:
    for name in gossipkv.__all__:
        assert getattr(gossipkv, name).__name__ == name


def test_importing_the_package_imports_nothing_else_and_the_client_leaves_the_store_out() -> None:
    program = (
        "import sys, gossipkv\n"
        "assert not {'aiohttp', 'asyncio', 'lmdb'} & sys.modules.keys()\n"
        "gossipkv.Client\n"
        "assert 'aiohttp' in sys.modules and not {'lmdb', 'gossipkv.core', 'click'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
