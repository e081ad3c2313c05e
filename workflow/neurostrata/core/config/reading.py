"""Reading configuration files: YAML without duplicate keys, files merged in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG, STUDY_CONFIG, program

#: In C where PyYAML was built with it: eight times as fast, with other words for what is wrong with a file.
_OWN_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


#: What PyYAML finds -> what it means, in words; ``{line}`` is where that began which was not ended, ``{0}`` the match.
_YAML = (
    (r"found character '\\t'", "a tab: indent with spaces, never with tabs"),
    (r"found character '(.)' that cannot start", "a text that begins with {0} must be in quotation marks"),
    (
        r"mapping values are not allowed here",
        "a ':' where no key can be: put a text with a ':' in quotation marks, or begin a new line",
    ),
    (
        r"expected ',' or '(.)'",
        "the bracket that opens in line {line} is not closed by {0}, or a ',' is missing",
    ),
    (
        r"expected <block end>, but found '<scalar>'",
        "text after a closing quotation mark: put a text with ' in it in \" and one with \" in '",
    ),
    (
        r"expected <block end>",
        "the line does not fit those above it: indent the keys of a group, and the '-' of a list, by the same number of spaces",
    ),
    (r"could not find expected ':'", "a key needs a ':' and a blank after it (line {line})"),
    (r"found unexpected end of stream", "the quotation mark that opens in line {line} is not closed"),
    (
        r"undefined alias|expected alphabetic or numeric character|could not determine a constructor",
        "a text that begins with *, & or ! must be in quotation marks",
    ),
    (r"found another document", "a line '---' begins a second configuration; one file has one"),
    (r"unacceptable character", "a character that no text has; save the file as text"),
)


def _in_words(error: yaml.YAMLError | Exception) -> str:
    """Return what is wrong with a file that is no YAML."""
    said = str(getattr(error, "problem", "") or getattr(error, "context", "") or error)
    began = getattr(error, "context_mark", None) or getattr(error, "problem_mark", None)
    for pattern, words in _YAML:
        if found := re.search(pattern, said):
            return words.format(*found.groups(), line=began.line + 1 if began else "?")
    if isinstance(error, ValueError):
        return f"a value that cannot be ({' '.join(said.split())[:200]}); put it in quotation marks where a text is meant"
    return " ".join(said.split())[:200]


def read_own_yaml(path: Path) -> Any:
    """Return what is in a YAML file that comes with neurostrata, which is right; users' files are for `read_yaml`."""
    return yaml.load(path.read_text(encoding="utf-8"), _OWN_LOADER)


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
        raise UserError(f"{path}{line}: is not valid YAML: {_in_words(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid YAML: {_in_words(error)}") from error
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


def look_up(values: Any, key: str, absent: Any = None) -> Any:
    """Return the value of a key such as ``registration.engine``, or `absent` where it is not set."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return absent
        values = values[part]
    return values


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
