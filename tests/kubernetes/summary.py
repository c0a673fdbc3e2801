"""What was measured, told at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Summary:
    """Figures by scenario, in the order in which they came."""

    figures: dict[str, list[str]] = field(default_factory=dict)

    def add(self, scenario: str, figure: str) -> None:
        self.figures.setdefault(scenario, []).append(figure)

    def lines(self) -> list[str]:
        return [f"{scenario}: {'; '.join(figures)}" for scenario, figures in self.figures.items()]
