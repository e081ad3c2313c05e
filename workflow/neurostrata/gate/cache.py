"""What is known of the files of a study, kept from one check to the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

from neurostrata.core.files import absence, atomic_path
from neurostrata.gate.contents import read_content
from neurostrata.gate.headers import Facts, read_facts

#: Raised when what is kept of a file changes.
_FORMAT = 2
#: Files read to their end at the same time.
_READERS = 4


def _lasting(facts: Facts) -> Facts:
    """Leave out problems that may go while a file stays as it is: it could not be read, for lack of a permission, say.

    Damaged contents stay known: to find them again takes as long as at first.
    """
    if "problem" in facts or facts.get("lines"):
        return {}
    return {k: v for k, v in facts.items() if k != "content" or not v.get("passing")}


class FileCache:
    """What is known of files, by path, size and modification time.

    Parameters
    ----------
    path
        A JSON file; a missing or broken one counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Facts] = {}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["format"] == _FORMAT:
                files = {k: _lasting(v) for k, v in kept["files"].items() if isinstance(v, dict)}
                self.known = {k: v for k, v in files.items() if v}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass
        self.used: dict[str, Facts] = {}
        self.files: dict[str, tuple[str, int]] = {}
        #: Image -> device and inode, which links to one file have in common.
        self.places: dict[str, str] = {}

    def facts(self, image: str) -> Facts:
        """Return what an image's header says, or ``{"problem": text}``."""
        if image in self.files:  # asked for several times in one check
            return self.used[self.files[image][0]]
        try:
            status = Path(image).stat()
        except FileNotFoundError:
            return {"problem": absence(image)}
        except OSError as error:
            return {"problem": f"cannot be read ({error.strerror})"}
        key = f"{image}|{status.st_size}|{status.st_mtime_ns}"
        self.files[image] = key, status.st_size
        self.places[image] = f"{status.st_dev}:{status.st_ino}"
        # a header that an earlier release has read is read again, but not the content
        content = {name: kept for name, kept in self.known.get(key, {}).items() if name == "content"}
        return self._kept(
            key, ("shape", "placed", "scale"), lambda: {**content, **read_facts(image, status.st_size)}
        )

    def _kept(self, key: str, names: tuple[str, ...], find: Callable[[], Any]) -> Facts:
        facts = self.known.get(key)
        if facts is None or not ("problem" in facts or all(name in facts for name in names)):
            facts = self.known[key] = find()
        self.used[key] = facts
        return facts

    def remember(self, key: str, find: Callable[[], Any]) -> list[Any]:
        """Return the list (of JSON values) that `find` returns, or that it returned for this key in an earlier check."""
        return self._kept(key, ("lines",), lambda: {"lines": find()})["lines"]

    def contents(self, images: Iterable[str], seconds: float | None = None) -> list[str]:
        """Read those images to their end that have not been read, small ones first.

        Parameters
        ----------
        images
            Paths whose headers are sound.
        seconds
            Time after which no further image is begun; None reads all.

        Returns
        -------
        list of str
            The images that are still unread.
        """
        left = [path for path in images if "content" not in self.facts(path)]
        left = sorted(dict.fromkeys(left), key=lambda path: self.files[path][1])
        if not left or (seconds is not None and seconds <= 0):
            return left
        end = None if seconds is None else monotonic() + seconds

        def read(path: str) -> bool:
            if end is not None and monotonic() > end:
                return False
            key, _ = self.files[path]
            self.used[key] = self.known[key] = {
                **self.known[key],
                "content": read_content(path, self.known[key]),
            }
            return True

        with ThreadPoolExecutor(_READERS) as pool:
            done = list(pool.map(read, left))
        return [path for path, finished in zip(left, done) if not finished]

    def content(self, image: str) -> Facts:
        """Return what is known of an image's content; empty when it has not been read."""
        return self.facts(image).get("content", {})

    def save(self, whole: bool = True) -> None:
        """Write what was used in this check; after a check of a part of the study, what was known before as well."""
        # without indents: the encoder in C is ten times faster, and nobody reads ten thousand headers
        text = json.dumps({"format": _FORMAT, "files": self.used if whole else self.known}, allow_nan=False)
        with atomic_path(self.path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
