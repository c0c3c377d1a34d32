"""What people are shown of images: proposals and outcomes by run and version of triage, the last few kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import workbench
from workbench.config import TriageConfig
from workbench.recent import Recent
from workbench.store import records, runs
from workbench.tables.events import EventError
from workbench.tables.outcomes import Triage
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    from workbench.folder import ProjectFolder

_KEPT_IMAGES = 16  # whose proposals stay in memory: people go back and forth between a few


class Version(NamedTuple):
    """A run and a version of its triage: what an image was shown with."""

    run_id: int | None
    triage_id: int | None


class Shown:
    """What people are shown of images: proposals and outcomes by run and version of triage, the last few kept."""

    def __init__(self, project: ProjectFolder) -> None:
        self.project = project
        self._proposals = Recent[tuple[int, str], Proposals](_KEPT_IMAGES)
        self._triaged = Recent[tuple[int, int, str], Triage](_KEPT_IMAGES)
        self._configs: dict[int, tuple[int, TriageConfig]] = {}

    def latest(self, run_id: int | None = None) -> Version:
        """Return a run (None: worked on last) and its triage used last; thresholds nobody chose yet are kept as one."""
        catalog = self.project.catalog
        run = runs.find(catalog, run_id)
        if run is None:
            return Version(None, None)
        kept = records.latest_triage(catalog, run.id)
        if kept is not None:
            return Version(run.id, kept.id)
        config = self.project.triage_config(run.id)
        blank = records.Version(0, run.id, config.digest, config.to_dict(), 0, {}, {})
        return Version(run.id, records.keep_triage(catalog, blank, "", ""))

    def proposals(self, run_id: int | None, image_id: str) -> Proposals:
        """Return the proposals of a run on an image; none where the run has not got to it."""
        found = self._found(run_id, image_id)
        return Proposals.empty() if found is None else found

    def _found(self, run_id: int | None, image_id: str) -> Proposals | None:
        if run_id is None:
            return None
        found = self._proposals.get((run_id, image_id))
        if found is None:
            parts = [rows for _, rows in self.project.each([image_id], run_id)]
            if parts:  # else it is not done yet, and asked for again the next time
                found = self._proposals.put((run_id, image_id), parts[0])
        return found

    def done(self, run_id: int | None, image_id: str) -> bool:
        """Return whether a run has got to an image, if only to find nothing on it."""
        return self._found(run_id, image_id) is not None

    def triaged(self, version: Version, image_id: str) -> tuple[Proposals, Triage]:
        """Return the proposals of an image with their outcomes by a version of triage."""
        rows = self.proposals(version.run_id, image_id)
        if version.run_id is None or version.triage_id is None or not len(rows):
            return Proposals.empty(), Triage(np.zeros(0), np.zeros(0))
        key = (version.run_id, version.triage_id, image_id)
        found = self._triaged.get(key)
        if found is None or len(found) != len(rows):
            config = self.config(version.triage_id)
            found = self._triaged.put(key, workbench.triage(self.project.with_confidence(rows, config), config))
        return rows, found

    def config(self, triage_id: int) -> TriageConfig:
        """Return the thresholds of a version of triage; they never change. Raises EventError for an unknown one."""
        return self._config(triage_id)[1]

    def run_of(self, triage_id: int) -> int:
        """Return the run that a version of triage is of. Raises EventError for an unknown one."""
        return self._config(triage_id)[0]

    def _config(self, triage_id: int) -> tuple[int, TriageConfig]:
        if triage_id not in self._configs:
            kept = records.find_triage(self.project.catalog, triage_id)
            if kept is None:
                raise EventError(f"triage_id: expected a version in project.triages(), got {triage_id}")
            self._configs[triage_id] = (kept.run_id, TriageConfig.from_dict(kept.settings))
        return self._configs[triage_id]
