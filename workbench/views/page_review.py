"""The review page: the annotator of the notebook, with the same module, queue and journal, served by Panel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui
import param
from panel.custom import AnyWidgetComponent

from workbench.tables.events import EventError, check_name
from workbench.views import layout
from workbench.views.view import View, login_name
from workbench.widgets.annotator import STATIC
from workbench.widgets.session import Session

# the annotator's colours are those of the page, light or dark, and not those of the system
_LOOK = """
:host .wb {
  --wb-back: var(--panel-surface-color);
  --wb-soft-back: color-mix(in srgb, var(--panel-on-surface-color) 7%, var(--panel-surface-color));
  --wb-line: color-mix(in srgb, var(--panel-on-surface-color) 20%, var(--panel-surface-color));
  --wb-text: var(--panel-on-surface-color);
  --wb-soft: color-mix(in srgb, var(--panel-on-surface-color) 70%, var(--panel-surface-color));
  --wb-brand: var(--panel-primary-color);
  --wb-stage: color-mix(in srgb, var(--panel-on-surface-color) 11%, var(--panel-background-color));
  color-scheme: inherit;
}
"""


class AnnotatorPane(AnyWidgetComponent):
    """The annotator's module in Panel; its traits are those of `workbench.widgets.annotator.Annotator`."""

    view = param.Dict(default={}, doc="all but pixels of the open image")
    picture = param.Bytes(default=b"", doc="PNG or JPEG of the open image")
    masks = param.Bytes(default=b"", doc="run lengths of its masks")
    live = param.Bytes(default=b"", doc="answer to the latest prompt")
    acked = param.Dict(default={}, doc="page -> number of its last message that is safe")
    replies = param.List(default=[], doc="answers to messages, kept until heard")
    fault = param.String(default="", doc="what is wrong on this side, in words")
    outbox = param.List(default=[], doc="messages of pages, sent until acked")
    heard = param.Dict(default={}, doc="page -> number of the last reply it has read")

    _esm: ClassVar[Path] = Path(STATIC) / "annotator.js"


@dataclasses.dataclass(frozen=True)
class _Read:
    proposals: int
    progress: str


_NO_CLICKS = (
    "Clicks and boxes are not answered: the model {model} is not part of the project. Polygon and brush work. Whoever starts "
    "the server can give a model: workbench dashboard DIR --model NAME --checkpoint FILE"
)


class ReviewView(View):
    """Who reviews, and the annotator for them."""

    name_of_page = "review"

    def setup(self) -> None:
        """Make the form for the name; with a login the name is that of the login."""
        self.session: Session | None = None
        self.pane: AnnotatorPane | None = None
        self.progress = layout.words("")
        self.place = pn.Column(sizing_mode="stretch_width")
        user = login_name() if self.live else ""
        self.known = user
        self.person = pmui.TextInput(label="your name", value=user, width=220, size="small", disabled=bool(user))
        self.begin = pmui.Button(label="Review", size="medium")
        self.begin.on_click(self.guarded(lambda _: self.start(self.person.value)))

    def close(self) -> None:
        """Give the image back that is open."""
        super().close()
        if self.session is not None:
            self.session.close()

    def read(self) -> _Read:
        """Look at how far the review is."""
        project = self.campaign.project
        totals, _ = project._totals()
        return _Read(int(totals["proposals"]), str(project.queue().progress()) if totals["proposals"] else "")

    def present(self, data: _Read) -> None:
        """Show the form until somebody reviews; then only progress changes."""
        if self.session is not None and self.session.project is not self.campaign.project:
            self.session.close()
            self.session = self.pane = None
            self.say("Another project lies in this folder now. Begin again to review it.", "info")
        if not data.proposals:
            text = "The project has no proposals yet, so there is nothing to review. Propose masks first:"
            command = f"workbench propose {self.campaign.place}"
            self.body.objects = [layout.next_step("Nothing proposed yet", text, command)]
            return
        self.progress.object = f'<p class="note" role="status">{layout.escape(data.progress)}</p>'
        if self.session is None:
            text = (
                "Every gesture is in the project's journal before it is acknowledged; close the page whenever you like."
            )
            form = pn.FlexBox(self.person, self.begin, align_items="end")
            self.body.objects = [
                layout.grid(layout.card("Review", form, self.progress, text=text, wide=True)),
                self.place,
            ]

    def start(self, name: str) -> None:
        """Open the annotator for a person, under the name of the login where there is one."""
        try:
            name = check_name(self.known or name.strip())
        except EventError:
            self.say("Who reviews? Give your name; it is recorded with each gesture.", "info")
            return
        if self.session is not None:
            return
        project = self.campaign.project
        pane = self.pane = AnnotatorPane(stylesheets=[_LOOK], sizing_mode="stretch_width", height=760)  # type: ignore[no-untyped-call]
        sam = self.campaign.clicks.loader(project)
        self.session = Session(project, name, self._publish, sam=sam, later=self.on_page)
        pane.param.watch(lambda event: self._received(event.new), "outbox", onlychanged=False)
        pane.param.watch(lambda event: self._heard_page(event.new), "heard", onlychanged=False)
        self.session.start()
        self.say("")
        self.place.objects = [pane]
        self.body.objects = [
            layout.words(f'<p class="note">Reviewing as {layout.escape(name)}</p>'),
            *([] if sam else [layout.note(_NO_CLICKS.format(model=project.model_id))]),
            self.place,  # the annotator tells the progress itself
        ]

    def _publish(self, traits: Mapping[str, Any]) -> None:
        if self.pane is not None:
            self.pane.param.update(**traits)

    def _received(self, outbox: object) -> None:
        if self.session is not None:
            self.session.receive(outbox)

    def _heard_page(self, numbers: object) -> None:
        if self.session is not None:
            self.session.heard(numbers)
