"""A package that can be called: `workbench.propose` is a room of modules and also the public function of that name."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType


class CallableRoom(ModuleType):
    """A package whose call is passed to the function of its own name in the module `_entry`.

    Importing any module of a room binds the package over a function of the same name in `workbench`; a callable
    package makes `wb.propose(...)` mean the same whatever was imported before.
    """

    _entry: str

    def __call__(self, *args: object, **settings: object) -> object:
        return self._function()(*args, **settings)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        try:
            return inspect.getdoc(self._function()) or ""
        except ImportError:  # whoever only asks for words needs no model
            return str(vars(self).get("__doc__") or "")

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())

    def _function(self) -> Callable[..., object]:
        function: Callable[..., object] = getattr(
            importlib.import_module(self._entry), self.__name__.rpartition(".")[2]
        )
        return function


def make_callable(room: str, entry: str) -> None:
    """Let the package `room` be called as the function of its name in module `entry` (imported at the first call)."""
    module = sys.modules[room]
    module.__class__ = CallableRoom
    module._entry = entry  # type: ignore[attr-defined]
