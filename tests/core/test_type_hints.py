"""Type hints resolve at run time: dependency injection, pydantic and documentation tools read them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ForwardRef, Optional, get_args, get_type_hints

import attrs
import pytest

import calls_in_progress_async

ROOT = Path(calls_in_progress_async.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name != "__main__.py"
)


def functions_of(member: Any) -> list[Any]:
    """Return the functions behind an entry of a class's ``vars``: a method, a property's getter and setter.

    A generated ``NamedTuple.__new__`` is left out: its globals are empty, and its hints are those of the class.
    """
    if isinstance(member, property):
        return [each for each in (member.fget, member.fset) if each is not None]
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    is_written = inspect.isfunction(function) and not str(function.__module__).startswith("namedtuple_")
    return [function] if is_written else []


def annotated(kind: type) -> Iterator[tuple[str, Any]]:
    """Iterate over a class of the package, its methods and properties, inherited ones included."""
    yield kind.__qualname__, kind
    for base in kind.__mro__:
        if base.__module__.startswith(calls_in_progress_async.__name__):
            for name, member in vars(base).items():
                for function in functions_of(member):
                    yield f"{kind.__qualname__}.{name}", inspect.unwrap(function)


def unresolved(value: Any) -> list[str]:
    """Return the errors of the hints of a class and its members, or of a function."""
    errors = []
    for name, each in annotated(value) if inspect.isclass(value) else [(value.__qualname__, inspect.unwrap(value))]:
        try:
            get_type_hints(each, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            errors.append(f"{name}: {error}")
    return errors


def classes_in(module: str) -> list[type]:
    """Return the classes defined in a module."""
    values = vars(importlib.import_module(module)).values()
    return [value for value in values if inspect.isclass(value) and value.__module__ == module]


def forward_references(alias: Any) -> list[str]:
    """Return the names in a type alias that are still text."""
    if isinstance(alias, ForwardRef):
        return [alias.__forward_arg__]
    return [name for argument in get_args(alias) for name in forward_references(argument)]


@pytest.mark.parametrize("name", calls_in_progress_async.__all__)
def test_hints_of_a_public_name_resolve(name: str) -> None:
    """Classes, their methods, properties and Protocol members, and functions have hints that resolve."""
    value = getattr(calls_in_progress_async, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert unresolved(value) == []
    else:
        assert forward_references(value) == []


@pytest.mark.parametrize("module", MODULES)
def test_hints_of_all_classes_of_a_module_resolve(module: str) -> None:
    """Every class of the package has hints that resolve, exported or not."""
    assert [error for kind in classes_in(module) for error in unresolved(kind)] == []


@pytest.mark.parametrize("name", calls_in_progress_async.__all__)
def test_attrs_fields_of_a_public_class_resolve(name: str) -> None:
    """attrs.resolve_types finds the type of every field."""
    kind = getattr(calls_in_progress_async, name)
    if not (inspect.isclass(kind) and attrs.has(kind)):
        return
    hints = get_type_hints(kind, include_extras=True)
    assert [each.name for each in attrs.fields(kind) if isinstance(hints.get(each.name), str | None)] == []


def test_an_unresolved_hint_is_found() -> None:
    """The check itself sees hints of methods, properties, class methods and fields."""

    class Broken:
        field: Missing  # type: ignore[name-defined]  # noqa: F821

        def method(self) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

        @property
        def value(self) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

        @classmethod
        def make(cls) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

    Broken.__module__ = f"{calls_in_progress_async.__name__}.broken"
    assert len(unresolved(Broken)) == 4
    assert forward_references(Optional["Missing"]) == ["Missing"]  # type: ignore[name-defined]  # noqa: F821
