"""Reading configuration files: YAML without duplicate keys, files merged in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG, STUDY_CONFIG, program


class _StrictLoader(yaml.SafeLoader):
    """A loader that refuses duplicate keys, of which YAML silently keeps the last."""


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (list, dict)):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is a list or a mapping", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' is given twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _strict_mapping)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises
    ------
    UserError
        When it is not valid YAML, or a key is given twice: with the file and the line.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _StrictLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        tab = " (indent YAML with spaces, never with tabs)" if "'\\t'" in str(error.problem) else ""
        raise UserError(f"{path}{line}: is not valid YAML: {error.problem or error.context}{tab}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid YAML: {' '.join(str(error).split())[:200]}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: has no keys; a configuration consists of lines like 'output: results'")
    return content


def overlaid(under: Any, over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the values of another one over it: maps are merged, anything else is replaced."""
    merged = dict(under) if isinstance(under, Mapping) else {}
    for key, value in over.items():
        merged[key] = overlaid(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged


def read_configuration(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Read configuration files, each over those before it."""
    config: dict[str, Any] = {}
    for path in paths:
        config = overlaid(config, read_yaml(path))
    return config


def study_files(folder: Path, named: Sequence[str | Path] = ()) -> list[Path]:
    """Return the configuration files of a study, each to be read over those before it.

    Parameters
    ----------
    folder
        The study's.
    named
        Further files, as with ``--configfile``. With one of them a folder is a study without a configuration of its own.

    Raises
    ------
    UserError
        When the folder is no study.
    """
    own = folder / STUDY_CONFIG
    if not own.is_file() and not named:
        where = "the current folder" if folder == Path() else f"{folder}:"
        what = f"{where} is no study (no {STUDY_CONFIG})" if folder.is_dir() else f"{where} no such folder"
        raise UserError(f"{what}; to make one of a folder of images: {program()} init IMAGES STUDY")
    files = [DEFAULT_CONFIG]
    if own.is_file() and own.resolve() != DEFAULT_CONFIG:
        files.append(own)
    return [*files, *map(Path, named)]
