"""One self-contained Python file out of the definitions that a class needs, taken from our packages' own source.

So a registered model carries the very code it was trained with, and nobody writes it twice.

Why not a few files with relative imports: diffusers (0.42) downloads a component's own module from the hub and none
that it imports. From a local folder it copies direct imports only, under one name for all models, so that a second
model in the same process silently runs the first one's code.
"""

import ast
import importlib
import inspect
from dataclasses import dataclass, field
from types import ModuleType

PACKAGES = ("advkd", "storage")


def bundle_source(definition: type, note: str) -> str:
    """The source of `definition` and of all that it uses from our packages, in one module without our imports.

    Definitions are copied as they stand, comments included, each after those it uses; other packages' imports are kept.

    Args:
        definition: a class of ours, or of another package that adds students.
        note: the module's docstring.

    Raises:
        ValueError: an import that cannot be followed (`from advkd.x import y as z`, `import advkd.x`).
    """
    bundle = _Bundle({*PACKAGES, definition.__module__.partition(".")[0]})
    bundle.add(importlib.import_module(definition.__module__), definition.__name__)
    imports = "\n".join(sorted(bundle.imports))
    return "\n\n\n".join([f'"""{note}"""\n\n{imports}', *bundle.parts]) + "\n"


@dataclass
class _Module:
    """One module's top-level definitions and what its imports bind, by name."""

    lines: list[str]
    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    ours: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)


@dataclass
class _Bundle:
    packages: set[str]
    parts: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, module: ModuleType, name: str) -> None:
        if (module.__name__, name) in self._seen:
            return
        self._seen.add((module.__name__, name))
        table = self._read(module)
        if name not in table.definitions:
            # A package's door: the definition is behind it.
            self.add(importlib.import_module(table.ours[name]), name)
            return
        statement = table.definitions[name]
        used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        for other in sorted(used - {name}):
            if other in table.definitions:
                self.add(module, other)
            elif other in table.ours:
                self.add(importlib.import_module(table.ours[other]), other)
            elif other in table.foreign:
                self.imports.add(table.foreign[other])
        self.parts.append(_text(table.lines, statement))

    def _read(self, module: ModuleType) -> _Module:
        source = inspect.getsource(module)
        table = _Module(source.splitlines())
        for statement in ast.parse(source).body:
            match statement:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    table.definitions[name] = statement
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    table.definitions[name] = statement
                case ast.Import(names=aliases):
                    for alias in aliases:
                        self._refuse(module, alias.name)
                        table.foreign[alias.asname or alias.name.split(".")[0]] = ast.unparse(ast.Import([alias]))
                case ast.ImportFrom(module=str(origin), names=aliases):
                    self._follow(module, table, origin, aliases)
                case _:
                    pass
        return table

    def _follow(self, module: ModuleType, table: _Module, origin: str, aliases: list[ast.alias]) -> None:
        for alias in aliases:
            if origin.split(".")[0] not in self.packages:
                table.foreign[alias.asname or alias.name] = f"from {origin} import {ast.unparse(alias)}"
            elif alias.asname:
                self._refuse(module, f"{origin}.{alias.name} as {alias.asname}")
            else:
                table.ours[alias.name] = origin

    def _refuse(self, module: ModuleType, imported: str) -> None:
        package = imported.split(".")[0]
        if package in self.packages:
            raise ValueError(
                f"a module that travels with a model must import our packages as `from {package}.x import y`, got "
                f"{imported!r} in {module.__name__}; change that import"
            )


def _text(lines: list[str], statement: ast.stmt) -> str:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(lines[first - 1 : statement.end_lineno])
