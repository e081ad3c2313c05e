"""Problems of each person's images that only the contents show: damage, constant images, two people with one image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from neurostrata.cohort.sheet import FACTS
from neurostrata.cohort.sources.source import SheetImage
from neurostrata.cohort.study import Study
from neurostrata.gate.cache import FileCache
from neurostrata.gate.person_files import GRADIENTS
from neurostrata.gate.problems import Problem, few

_MASKS = ("t1w_mask", "dwi_mask")


class _Image(NamedTuple):
    subject: str
    column: str
    path: str


def content_problems(
    study: Study,
    needed: dict[str, list[str]],
    sheet_images: list[SheetImage],
    cache: FileCache,
    seconds: float | None,
    unread: list[str],
) -> Iterator[Problem]:
    """Read images to their end and yield what is wrong in them.

    Parameters
    ----------
    needed
        Subject -> the columns whose files are read.
    sheet_images
        What is expected of the images in columns that modalities name.
    seconds
        Time for reading; None reads all. Images that two people may have in common are always read.
    unread
        Filled with the images that are still unread.
    """
    finite, masks = _finite(sheet_images), {image.column for image in sheet_images if image.mask}
    images = [
        _Image(subject, column, path)
        for subject, columns in needed.items()
        for column in columns
        if column not in FACTS and column not in GRADIENTS and (path := study.source(subject, column))
        if "problem" not in cache.facts(path)
    ]
    varying = [image for image in images if image.column in finite and image.column not in _MASKS]
    # only images of equal fingerprints can hold the same voxels
    candidates = _shared(varying, lambda image: cache.facts(image.path).get("print", image.path))
    cache.contents(
        image.path
        for group in candidates
        for image in group
        if len({cache.places[other.path] for other in group}) > 1
    )
    unread += cache.contents((image.path for image in images), seconds)
    for image in images:
        text = _content_problem(image, finite, cache) or _mask_problem(image, masks, cache)
        if text:
            subject, column, path = image
            yield Problem("people", f"subject {subject}: {column}: {path}: {text}", subject, column)
    read = [i for i in varying if "digest" in (c := cache.content(i.path)) and not c["constant"]]
    yield from _double_problems(
        [*candidates, *_shared(read, lambda image: cache.content(image.path)["digest"])], cache
    )


def _finite(images: list[SheetImage]) -> dict[str, bool]:
    """Return the columns of images -> whether NaN and infinite voxels are refused there.

    Images in standard space have gaps outside the head, which are taken for background.
    """
    columns = {"t1w": True, "t1w_mask": True, "dwi": False, "dwi_mask": False}
    return columns | {image.column: image.finite for image in images if image.varies}


def _content_problem(image: _Image, finite: dict[str, bool], cache: FileCache) -> str | None:
    content, column = cache.content(image.path), image.column
    if content.get("problem"):
        return content["problem"]
    if column in _MASKS and content.get("empty"):
        return "every voxel is 0: the mask is empty"
    if column not in finite or column == "dwi_mask":
        return None
    if content.get("constant"):
        what = "the mask takes in the whole image" if column in _MASKS else "there is no image in it"
        return f"every voxel has the same value, {what}"
    if column == "dwi" and content.get("same"):
        return "all its volumes are the same, there is no diffusion in it"
    if finite[column] and content.get("gaps"):
        return f"has {content['gaps']} NaN or infinite voxels; replace them"
    return None


def _mask_problem(image: _Image, masks: Collection[str], cache: FileCache) -> str | None:
    """Return what is wrong with the values of a mask: of a brain, or one that a modality is made of."""
    stored = cache.content(image.path).get("range")  # not known of what an earlier release has read
    if not stored or image.column not in (*masks, *_MASKS):
        return None
    slope, intercept = cache.facts(image.path)["scale"]
    low, high = sorted(float(np.float32(slope * value + intercept)) for value in stored)  # as stages read it
    if image.column in _MASKS:
        return "no voxel is above 0.5: the mask is empty" if high <= 0.5 else None
    if low < 0 or high > 1:
        return f"a mask holds values from 0 to 1, this one from {low:g} to {high:g}; set voxels inside to 1 and all others to 0"
    return None


def _shared(images: Iterable[_Image], key: Callable[[_Image], Hashable]) -> list[list[_Image]]:
    """Return the groups of images in one column that have the same key and are of several people."""
    groups: dict[tuple[str, Hashable], list[_Image]] = defaultdict(list)
    for image in images:
        groups[image.column, key(image)].append(image)
    return [group for group in groups.values() if len({image.subject for image in group}) > 1]


def _double_problems(groups: list[list[_Image]], cache: FileCache) -> Iterator[Problem]:
    """Yield a problem for each group of people who have the same file, or the same image in several files."""
    reported: set[tuple[str, ...]] = set()
    for group in groups:
        contents = [cache.content(image.path) for image in group]
        digests = {content.get("digest") for content in contents}
        one_file = len({cache.places[image.path] for image in group}) == 1
        one_image = (
            len(digests) == 1
            and None not in digests
            and not any(content.get("constant") for content in contents)
        )
        people = tuple(image.subject for image in group)
        if (one_file or one_image) and people not in reported:
            reported.add(people)
            what = "is the same file" if one_file else "holds the same image"
            paths = list(dict.fromkeys(image.path for image in group))
            yield Problem(
                "sheets",
                f"{group[0].column} {what} for subjects {few(people)}: {few(paths, 3)}; give each person their own image",
            )
