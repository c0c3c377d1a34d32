"""What all settings share: frozen dataclasses with ranges, checked when made, to and from TOML and JSON."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import operator
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform, get_args, get_type_hints

OFF = "off"  # how None is written in TOML, which has no null


class SettingError(ValueError):
    """A setting that is unknown, of the wrong type or out of its range; the message names field, value and range."""


_ALWAYS = object()  # a setting that was there from the start


def setting(
    *, default: Any, low: float | None = None, high: float | None = None, doc: str, before: object = _ALWAYS
) -> Any:
    """Declare one setting: its default, its closed range and what it means.

    One that came later, when settings without it were stored already, says as `before` what these did.
    """
    later = {} if before is _ALWAYS else {"before": before}
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "doc": doc, **later})


S = TypeVar("S", bound="Settings")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def settings(cls: type[S]) -> type[S]:
    """Make a frozen, keyword-only dataclass whose unknown keywords are answered with the nearest known one."""
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    plain = made.__init__

    @functools.wraps(plain)
    def init(self: S, *args: Any, **given: Any) -> None:
        if args:
            raise SettingError(f"{cls.__name__} takes keywords only, e.g. {_example(made)}; got {args!r}")
        _refuse_unknown(made, given)
        plain(self, **given)

    made.__init__ = init  # type: ignore[assignment]
    return made


def _example(cls: type[Settings]) -> str:
    first = dataclasses.fields(cls)[0]
    return f"{cls.__name__}({first.name}={first.default!r})"


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about an unknown name: the nearest known one; what else there is to say where none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.4)
    said = f"did you mean {near[0]!r}?" if near else otherwise
    return f"; {said}" if said else ""


def _refuse_unknown(cls: type[Settings], given: Mapping[str, object]) -> None:
    known = [field.name for field in dataclasses.fields(cls)]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known)}")
            raise SettingError(f"{cls.__name__} has no setting {name!r}{hint}")


class Settings:
    """What all settings share: checking, comparison by value, and their way to and from dict, JSON and TOML."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(type(self).__name__, field, hints[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def replace(self: S, **changes: Any) -> S:
        """Return a copy with some settings changed, checked like new ones."""
        return type(self)(**{**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a plain dict of numbers, strings, booleans and None."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def digested(self) -> dict[str, Any]:
        """Return the settings that `digest` is of: one that was added later is left out where it does what was done before it."""
        before = self._before()
        return {name: v for name, v in self.to_dict().items() if name not in before or v != before[name]}

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings that were stored, completed: what was added since gets the value that does what was done before it."""
        return {**cls._before(), **values}

    @classmethod
    def _before(cls) -> dict[str, Any]:
        fields = dataclasses.fields(cls)
        return {field.name: field.metadata["before"] for field in fields if "before" in field.metadata}

    def to_json(self) -> str:
        """Return the settings as one JSON object."""
        return json.dumps(self.to_dict())

    def to_toml(self) -> str:
        """Return the settings as TOML lines, None written as "off"."""
        lines = (f"{name} = {json.dumps(OFF if v is None else v)}" for name, v in self.to_dict().items())
        return "\n".join(lines) + "\n"

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """Build settings from a mapping; what is not named keeps its default.

        Raises
        ------
        SettingError : for an unknown name, a wrong type or a value out of range
        """
        return cls(**values)

    @classmethod
    def from_json(cls: type[S], text: str) -> S:
        """Build settings from one JSON object. Raises SettingError."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingError(
                f"{cls.__name__}: expected one JSON object, got text that does not parse: {error}"
            ) from None
        if not isinstance(values, dict):
            raise SettingError(f"{cls.__name__}: expected one JSON object, got {type(values).__name__}")
        return cls.from_dict(values)

    @classmethod
    def from_toml(cls: type[S], text: str) -> S:
        """Build settings from TOML lines, "off" read as None. Raises SettingError."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingError(f"{cls.__name__}: expected TOML, got text that does not parse: {error}") from None
        return cls.from_dict({name: None if v == OFF else v for name, v in values.items()})

    @property
    def digest(self) -> str:
        """Twelve hex digits that are equal exactly when all settings are; those of settings that were stored stay theirs."""
        return hashlib.sha256(json.dumps(self.digested(), sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def given(cls: type[S], value: S | None, name: str) -> S:
        """Return settings as an argument gives them, the defaults for None. Raises SettingError for anything else."""
        if value is None:
            return cls()
        if not isinstance(value, cls):
            raise SettingError(f"{name}: expected {cls.__name__}(...) or None, got {value!r}")
        return value

    @classmethod
    def describe(cls) -> str:
        """Return one line a setting: name, default, range and meaning."""
        return "\n".join(
            f"{f.name} = {f.default!r}  {_range(f.metadata)}{f.metadata['doc']}" for f in dataclasses.fields(cls)
        )


def name_of(parts: Mapping[str, Any]) -> str:
    """Return a name for settings and plain values, 12 hex digits: the same for the same words."""
    said = {name: part.digested() if isinstance(part, Settings) else part for name, part in parts.items()}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two mappings, of settings by part: "train.steps: 12, now 100"."""
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{name}.{inner}" for inner in differences(old, new)]
        elif isinstance(old, list) and isinstance(new, list) and old != new:
            found.append(f"{name}: {len(old):,} of them, now {len(new):,}{' others' * (len(old) == len(new))}")
        elif old != new:
            found.append(f"{name}: {OFF if old is None else old}, now {OFF if new is None else new}")
    return found


def _range(metadata: Mapping[str, Any]) -> str:
    low, high = metadata["low"], metadata["high"]
    if low is None and high is None:
        return ""
    return f"[{'−∞' if low is None else low} to {'∞' if high is None else high}]  "


def _checked(owner: str, field: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    """Return `value` as the declared type, or raise a SettingError that shows field, value and range."""
    where, limits = f"{owner}.{field.name}", _range(field.metadata).strip()
    kinds = get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    if isinstance(kinds[0], str):  # a Literal
        if not isinstance(value, str) or value not in kinds:
            names = ", ".join(map(repr, kinds))
            raise SettingError(f"{where}: expected one of {names}, got {value!r}{did_you_mean(value, kinds)}")
        return value
    if bool in kinds:
        if not isinstance(value, bool):
            raise SettingError(f"{where}: expected true or false, got {value!r}")
        return value
    wanted = int if int in kinds else float
    number = _number(value, wanted)
    if number is None:
        off = " or None for off" if type(None) in kinds else ""
        name = "a whole number" if wanted is int else "a finite number"
        raise SettingError(f"{where}: expected {name} {limits}{off}, got {value!r}")
    low, high = field.metadata["low"], field.metadata["high"]
    if (low is not None and number < low) or (high is not None and number > high):
        raise SettingError(f"{where}: expected {limits}, got {value!r}")
    return number


def _number(value: Any, wanted: type[int] | type[float]) -> int | float | None:
    """Return a finite number of the wanted type, or None; numpy's are welcome, strings and booleans are not."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or str(getattr(value, "dtype", "")) == "bool":
        return None
    try:
        if wanted is int and hasattr(value, "__index__"):
            return operator.index(value)  # by way of float a large seed would become another
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # an array, or a number that no float holds
        return None
    return wanted(number) if math.isfinite(number) and number == wanted(number) else None
