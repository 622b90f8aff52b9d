"""Compare the public API with its snapshot: ``nox -s api`` runs this, ``nox -s api -- --accept`` takes a change over.

The snapshot has a line for every name in ``__all__`` of a public module, for every public member of a class, and for
every parameter.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SNAPSHOT = HERE / "public_api.txt"
PACKAGE = "calls_in_progress_async"
PLUGIN = "pytest_calls_in_progress"
_UNUSED = {"__attrs_post_init__", "__reduce__", "__repr__", "__rich_repr__", "__slots__"}
"""Special names that no program calls by themselves."""
_STARRED = {griffe.ParameterKind.var_positional}
_POSITIONAL = [griffe.ParameterKind.positional_only]


def public_api() -> Iterator[str]:
    """Yield the lines of the snapshot."""
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    package, plugin = loader.load(PACKAGE), loader.load(PLUGIN)
    loader.resolve_aliases()
    assert isinstance(package, griffe.Module)
    for module in sorted(_modules(package), key=lambda each: each.path):
        for name in sorted(map(str, module.exports or ())):
            yield from _lines(f"{module.path}.{name}", module[name])
    for name, member in sorted(plugin.members.items()):
        if isinstance(member, griffe.Function) and not name.startswith(("_", "pytest_")):
            yield from _lines(f"{PLUGIN}.{name}", member)


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """Yield a module and its submodules, if they have ``__all__`` and no private name."""
    if module.exports is not None:
        yield module
    for name, member in module.modules.items():
        if not name.startswith("_") and not member.is_alias:
            yield from _modules(member)


def _lines(path: str, found: griffe.Object | griffe.Alias) -> Iterator[str]:
    target = found.final_target if isinstance(found, griffe.Alias) else found
    match target:
        case griffe.Class():
            bases = [str(base) for base in target.bases if not str(base).startswith("_")]
            yield f"class {path}({', '.join(bases)})"
            for name, member in sorted(target.all_members.items()):
                if _is_public(name):
                    yield from _lines(f"{path}.{name}", member)
        case griffe.Function():
            awaited = "async " if "async" in target.labels else ""
            yield f"{awaited}{path}({', '.join(_names(target))}) -> {target.returns}"
            for parameter in target.parameters:
                if parameter.annotation is not None:
                    default = "" if parameter.required else f" = {parameter.default}"
                    yield f"{path}({parameter.name}: {parameter.annotation}{default})"
        case griffe.Attribute():
            optional = " = ..." if target.value is not None and _has_default(target.value) else ""
            yield f"{path}: {target.annotation or target.value}{optional}"


def _is_public(name: str) -> bool:
    """Return True for public names, and for the special methods of a protocol of the language."""
    special = name.startswith("__") and name.endswith("__")
    return name not in _UNUSED if special else not name.startswith("_")


def _has_default(value: str | griffe.Expr) -> bool:
    """Return False for a field of attrs without a default."""
    if isinstance(value, griffe.ExprCall) and str(value.function).endswith("field"):
        given = {each.name for each in value.arguments if isinstance(each, griffe.ExprKeyword)}
        return bool(given & {"default", "factory", "init"})
    return True


def _names(function: griffe.Function) -> Iterator[str]:
    """Yield the parameters' names with the marks of their kinds."""
    kinds = [parameter.kind for parameter in function.parameters]
    for number, parameter in enumerate(function.parameters):
        before = kinds[:number]
        match parameter.kind:
            case griffe.ParameterKind.var_positional:
                yield f"*{parameter.name}"
            case griffe.ParameterKind.var_keyword:
                yield f"**{parameter.name}"
            case kind:
                if kind is griffe.ParameterKind.keyword_only and not {kind, *_STARRED} & set(before):
                    yield "*"
                elif kind is not griffe.ParameterKind.positional_only and before[-1:] == _POSITIONAL:
                    yield "/"
                yield str(parameter.name)


def main() -> None:
    """Compare, or accept."""
    current = [line + "\n" for line in public_api()]
    if "--accept" in sys.argv:
        SNAPSHOT.write_text("".join(current), encoding="utf-8")
        return
    accepted = SNAPSHOT.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [line for line in difflib.ndiff(accepted, current) if line[0] in "+-"]
    if not changed:
        print(f"the public API is the accepted one: {len(current)} names")
        return
    removed = any(line.startswith("-") for line in changed)
    print("".join(changed), end="")
    print("A line with - was public and is gone: programs break." if removed else "Every line is an addition.")
    sys.exit("Accept it with `nox -s api -- --accept`, and add a fragment to changes/ for the changelog.")


if __name__ == "__main__":
    main()
