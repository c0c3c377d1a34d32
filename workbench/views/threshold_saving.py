"""The part of the thresholds page that keeps versions: who chose which thresholds, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from workbench.store.errors import StoreError
from workbench.views import layout
from workbench.views.campaign import words
from workbench.views.latest import long_work
from workbench.views.view import login_name

if TYPE_CHECKING:
    from workbench.views.page_thresholds import ThresholdsView


class Saving:
    """The form that makes thresholds the project's triage, and the table of versions."""

    def __init__(self, view: ThresholdsView) -> None:
        self._view = view
        user = login_name() if view.live else ""
        self.author = pmui.TextInput(label="author", value=user, width=180, size="small", disabled=bool(user))
        self.note = pmui.TextInput(label="note: why these thresholds", width=320, size="small")
        self.button = pmui.Button(label="Make this the project's triage", size="medium")
        self.told = layout.words("")
        self.versions = pn.Column(sizing_mode="stretch_width")
        self.button.on_click(view.guarded(lambda _: self.save()))

    def card(self) -> Any:
        """Return the form and the table below it."""
        form = pn.FlexBox(self.author, self.note, self.button, align_items="end", sizing_mode="stretch_width")
        return layout.card(
            "Versions of the triage",
            form,
            self.told,
            self.versions,
            text="A version keeps thresholds, author and note; the one used last is the project's.",
            wide=True,
        )

    def follow(self, versions: Any) -> None:
        """Show the versions that there are."""
        if not len(versions):
            self.versions.objects = [layout.note("None yet.")]
            return
        counts = versions["counts"].map(dict).apply(lambda c: {k: c.get(k, 0) for k in ("auto_accepted", "flagged")})
        names = ("confidence", "predicted_iou", "jitter_stability", "stability_score", "nms_iou")
        flat = versions[["id", "run_id", "author", "note", "made_at"]].assign(
            **{n: versions["settings"].map(lambda s, n=n: s.get(n)) for n in names},
            auto_accepted=counts.map(lambda c: c["auto_accepted"]),
            flagged=counts.map(lambda c: c["flagged"]),
        )
        newest_first = flat.iloc[::-1].reset_index(drop=True)

        def show() -> None:
            self.versions.objects = [layout.table(newest_first, "triage-versions")]

        self._view.soon(show)  # far below what people open the page for

    def save(self) -> None:
        """Write the thresholds as a version, in a thread."""
        view = self._view
        config = view.state.config
        if config.pool == "exact" and view.pooled is None:
            raise StoreError("the pool is still being built; try again in a moment")
        note, author = self.note.value.strip(), self.author.value.strip()
        if not author:
            self.told.object = layout.box("Who chooses these thresholds? Give an author.", "info")
            return
        self.button.disabled, view.progress.visible = True, True
        self.told.object = '<p role="status">Sorting all proposals by these thresholds …</p>'

        def work() -> None:
            text, kind = "", "problem"
            try:
                triaged = view.campaign.project.triage(config, note=note, author=author)
                text, kind = f"Kept. {triaged.counts()['auto_accepted']:,} masks are auto-accepted.", "info"
            except Exception as error:  # told on the page
                text = words(error)
            view.on_page(lambda: done(text, kind))

        def done(text: str, kind: str) -> None:
            self.button.disabled = view.progress.visible = False
            self.told.object = layout.box(text, kind)
            view.campaign.poll()

        if not view.live:
            work()
        else:
            long_work().submit(work)
