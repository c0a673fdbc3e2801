"""Plants faults into the core, one at a time, and reports those that no test and no seed notices.

python -m tests.mutation --sample 150 --seed 1 --seeds 100
python -m tests.mutation --again
python -m tests.mutation coverage --seeds 200
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.baseline import Baseline
from tests.mutation.coverage import report
from tests.mutation.equivalent import Change, change_of, entries, listed
from tests.mutation.judge import Fate, Judge, Judged
from tests.mutation.live import core_files
from tests.mutation.marks import Marked
from tests.mutation.places import Mutant, mutants
from tests.mutation.progress import Progress
from tests.mutation.units import FAST, collect

SURVIVORS = Path(".mutation/survivors.toml")
"""Those of the last run, in the form of `equivalent.toml`."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=("faults", "coverage"), default="faults")
    parser.add_argument("--sample", type=int, default=150, metavar="N", help="number of faults (default: 150)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="draws the sample (default: 1)")
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="seeds of the simulation (default: 100)")
    parser.add_argument("--aimed", type=int, default=2, metavar="N", help="seeds of each aim (default: 2)")
    parser.add_argument("--files", nargs="+", default=[], metavar="NAME", help="only in modules of these names")
    parser.add_argument("--tests", nargs="+", default=list(FAST), metavar="PATH", help="unit tests that judge")
    parser.add_argument(
        "--test-seconds", type=float, default=math.inf, metavar="S", help="the longest unit test that judges"
    )
    parser.add_argument("--again", action="store_true", help="only the survivors of the last run")
    options = parser.parse_args()
    if options.what == "coverage":
        sys.stdout.write(report(options.seeds, options.aimed, Progress()))
        return 0
    run = Run(options)
    # So that the process of the fault under way is ended as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return collect(options.tests, run.work) or run.code


class Run:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._progress = Progress()
        self.code = 0

    def work(self, session: pytest.Session) -> None:
        files = core_files()
        marked = Marked(files)
        baseline = Baseline(marked, self._progress)
        tests = [test for test in baseline.tests(session.items) if test.seconds <= self._options.test_seconds]
        judge = Judge(marked, tests, baseline.seeds(self._options.seeds, self._options.aimed))
        sample = self._sample([path for path in files if not self._options.files or path.stem in self._options.files])
        self._report(self._judged(judge, sample), len(sample))

    def _sample(self, files: list[Path]) -> list[Mutant]:
        places = [place for path in files for place in mutants(path, path.read_text())]
        if self._options.again:
            last = listed(SURVIVORS)
            return [mutant for place in places for mutant in place if change_of(mutant) in last]
        rng = random.Random(self._options.seed)
        return [rng.choice(place) for place in rng.sample(places, min(self._options.sample, len(places)))]

    def _judged(self, judge: Judge, sample: list[Mutant]) -> list[Judged]:
        """Judge each mutant. Ctrl-C ends that, and what has been judged is reported."""
        known: dict[Change, str] = listed()
        found: list[Judged] = []
        try:
            for number, mutant in enumerate(sample, 1):
                self._progress.say(f"{number}/{len(sample)} {mutant}")
                reason = known.get(change_of(mutant))
                judged = judge.judged(mutant) if reason is None else Judged(mutant, Fate.EQUIVALENT, reason)
                found.append(judged)
                self._progress.keep(f"{number}/{len(sample)} {judged}")
        except KeyboardInterrupt:
            self._progress.keep("interrupted")
        return found

    def _report(self, found: list[Judged], drawn: int) -> None:
        fates = Counter(judged.fate for judged in found)
        survivors = [judged for judged in found if judged.fate is Fate.SURVIVED]
        SURVIVORS.parent.mkdir(exist_ok=True)
        SURVIVORS.write_text(entries(judged.mutant for judged in survivors))
        killed = fates[Fate.UNITS] + fates[Fate.SIMULATION]
        counted = killed + len(survivors)
        lines = ["", f"{len(found)} of {drawn} faults judged (sample {self._options.seed})"]
        lines += [f"  {fates[fate]:4} {fate.value}" for fate in Fate]
        lines += [f"{100 * killed / counted:.1f} % killed"] if counted else []
        lines += ["", *(str(judged) for judged in survivors)]
        self._progress.keep("\n".join(lines))
        self.code = 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
