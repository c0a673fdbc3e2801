"""Write the dashboards: `python -m helm.gossipkv.mixin.dashboards`, from the root of the repository.

`cluster_dashboard.py` and `member_dashboard.py` define the panels. The chart ships the JSON beside them, and a test
holds the two in step.
"""

from __future__ import annotations

import json
from pathlib import Path

from helm.gossipkv.mixin.cluster_dashboard import CLUSTER
from helm.gossipkv.mixin.member_dashboard import MEMBER
from helm.gossipkv.mixin.panel import dashboard_json

DIRECTORY = Path(__file__).parent / "dashboards"


def files() -> dict[Path, str]:
    """Return the content of each file, by path."""
    return {
        DIRECTORY / f"{dashboard.name}.json": json.dumps(dashboard_json(dashboard), indent=2) + "\n"
        for dashboard in (CLUSTER, MEMBER)
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content)
