"""Values as strict JSON can hold them, which has no NaN and no infinity: what is not known is null there, NaN in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray


@overload
def plain(value: Mapping[str, Any]) -> dict[str, Any]: ...
@overload
def plain(value: Sequence[Any] | NDArray[Any]) -> list[Any]: ...
def plain(value: Any) -> Any:
    """Return a value as mappings with names of text, lists, numbers and texts; None for a number that is not finite.

    Whatever has `to_dict` is what that gives, a named tuple a mapping, and an array of shape (...) nested lists of it. What
    else JSON has not, such as a path, stays as it is.
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(v) for name, v in value.items()}
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    # numpy's, seen by their method: the command line starts without numpy
    return plain(value.tolist()) if hasattr(value, "tolist") else value


@overload
def nan_for_none(value: Mapping[str, Any]) -> dict[str, Any]: ...
@overload
def nan_for_none(value: Sequence[Any]) -> list[Any]: ...
def nan_for_none(value: Any) -> Any:
    """Return what `plain` gave with NaN for None, in mappings and lists too: every None is a number that is not known."""
    if isinstance(value, Mapping):
        return {name: nan_for_none(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [nan_for_none(v) for v in value]
    return math.nan if value is None else value
