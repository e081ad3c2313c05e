"""The images of one person from BIDS datasets, those that belong together. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from neurostrata.cohort.discovery.bids_candidates import OWN_SPACES, Request
from neurostrata.cohort.discovery.bids_filters import Filters
from neurostrata.cohort.discovery.bids_index import IMAGES, File, Index
from neurostrata.cohort.discovery.messages import listed, people

Cells = dict[str, tuple[File, str]]  # column -> file, and why it was taken

#: Kind of problem -> what is wrong with people's images, and what to set.
_REMEDIES = {
    "aligned": (
        "have diffusion data in the space of their own dataset's T1w image, and the T1w image of another dataset: "
        "set diffusion.space: native (they are then aligned), or name the dataset with the T1w images in cohort.bids"
    ),
    "native": (
        "have diffusion data in their native space (no space-T1w or space-ACPC in the name), and diffusion.space "
        "is T1w: set diffusion.space: native"
    ),
    "frame": (
        "have an image in ACPC space for a modality with space: t1w, and a T1w image that is not: choose the T1w "
        "image of the same pipeline with cohort.filters.t1w: {dataset: ...}"
    ),
}


class PersonRows:
    """Makes the row of each person, and collects what cannot be chosen.

    Attributes
    ----------
    several
        Column -> people with several candidates, and these.
    misfits
        Kind of problem -> people whose images do not belong together.
    """

    def __init__(self, index: Index, request: Request, filters: Filters) -> None:
        self.index, self.request, self.filters = index, request, filters
        self.several: dict[str, list[tuple[str, list[File]]]] = defaultdict(list)
        self.misfits: dict[str, list[str]] = defaultdict(list)

    def row(self, person: str, candidates: Mapping[str, list[File]], files: Sequence[File]) -> Cells:
        """Return column -> (file, why) of one person.

        Parameters
        ----------
        person
            The id.
        candidates
            Column -> the files that may be its image.
        files
            All files of the person, and those that everybody shares.
        """
        cells: Cells = {}
        dwi = self._only(person, "dwi", candidates["dwi"]) if "dwi" in candidates else None
        if dwi is not None:
            self._add_diffusion(person, dwi, files, cells)
        t1w = self._t1w_of(person, candidates.get("dwi", []), candidates["t1w"])
        image = self._only(person, "t1w", t1w)
        if image is not None:
            cells["t1w"] = (image, self._why("t1w", image, len(t1w) < len(candidates["t1w"])))
            if "t1w_mask" not in self.filters.of_column:
                mask = self._mask_of(person, "t1w_mask", image, files)
                if mask is not None:
                    cells["t1w_mask"] = (mask, "beside the T1w image, of the same name")
        for column in (c for c in candidates if c not in ("t1w", "dwi")):
            file = self._only(person, column, candidates[column])
            if file is None:
                continue
            acpc = file.entities.get("space") == "ACPC" and self.request.spaces.get(column) == "t1w"
            if acpc and image is not None and image.entities.get("space") != "ACPC":
                self.misfits["frame"].append(f"{person}: {column} {file.name}, t1w {image.name}")
                continue
            cells[column] = (file, self._why(column, file, False))
        return cells

    def _only(self, person: str, column: str, files: list[File]) -> File | None:
        """Return the one file that is left; note the person when there are several."""
        if len(files) > 1:
            self.several[column].append((person, files))
            return None
        return files[0] if files else None

    def _why(self, column: str, file: File, with_dwi: bool) -> str:
        words = [f"from {self.index.datasets[file.root].name}"]
        if file.entities.get("desc") == "preproc":
            words.append("preprocessed")
        elif column == "dwi" or (column == "t1w" and file.entities.get("desc") is None):
            words.append("as the configuration says, preprocessed" if column == "dwi" else "not preprocessed")
        if column in self.filters.of_column:
            words.append(f"by cohort.filters.{column}")
        if with_dwi:
            words.append("of the dataset that the dwi comes from")
        if file.session and self.request.sessions is not None and not self.filters.names(column, "session"):
            words.append(f"by cohort.sessions: {self.request.sessions}")
        if (
            file.entities.get("run")
            and self.request.runs is not None
            and not self.filters.names(column, "run")
        ):
            words.append(f"by cohort.runs: {self.request.runs}")
        return ", ".join(words)

    def _t1w_of(self, person: str, dwi: list[File], files: list[File]) -> list[File]:
        """Return the T1w images that dwi images in the person's space are aligned with: those of their dataset."""
        roots = {file.root for file in dwi if file.entities.get("space") in OWN_SPACES}
        if not roots or not files:
            return files
        aligned = [file for file in files if file.root in roots]
        if not aligned and self.request.dwi_space == "T1w":
            self.misfits["aligned"].append(f"{person}: dwi {dwi[0].name}, t1w {files[0].name}")
            return []
        return aligned or files

    def _add_diffusion(self, person: str, dwi: File, files: Sequence[File], cells: Cells) -> None:
        in_own_space = dwi.entities.get("space") in OWN_SPACES
        if self.request.dwi_space == "T1w" and not in_own_space and not self.request.dwi_preprocessed:
            self.misfits["native"].append(f"{person}: {dwi.name}")
            return
        cells["dwi"] = (dwi, self._why("dwi", dwi, False))
        for column in ("bval", "bvec"):
            file = self._inherited(person, dwi, "." + column, files)
            if file is not None:
                cells[column] = (file, "beside the dwi" if file.folder == dwi.folder else "inherited")
        if "dwi_mask" not in self.filters.of_column:
            mask = self._mask_of(person, "dwi_mask", dwi, files)
            if mask is not None:
                cells["dwi_mask"] = (mask, "beside the dwi, of the same name")

    def _inherited(self, person: str, image: File, extension: str, files: Sequence[File]) -> File | None:
        """Return the gradient file that applies to an image by BIDS's inheritance principle: the nearest."""
        folder: str | None = image.folder
        while folder is not None:
            found = [
                file
                for file in files
                if file.root == image.root
                and file.folder == folder
                and file.extension == extension
                and file.suffix == image.suffix
                and file.session in ("", image.session)
                and all(image.entities.get(key) == value for key, value in file.entities.items())
            ]
            if found:
                most = max(len(file.entities) for file in found)
                best = [file for file in found if len(file.entities) == most]
                return self._only(person, extension[1:], best)
            folder = folder.rpartition("/")[0] if folder else None
        return None

    def _mask_of(self, person: str, column: str, image: File, files: Sequence[File]) -> File | None:
        """Return the brain mask beside an image: same dataset, folder and entities."""
        entities = {**image.entities, "desc": "brain"}
        found = [
            file
            for file in files
            if file.root == image.root
            and file.folder == image.folder
            and file.suffix == "mask"
            and file.extension in IMAGES
            and file.session == image.session
            and file.entities == entities
        ]
        return self._only(person, column, found)

    def misfit_lines(self) -> Iterator[str]:
        """Yield a line for each kind of images that do not belong together: how many people, and what to set."""
        for kind, cases in self.misfits.items():
            yield f"cohort.bids: {people(len(cases))} {_REMEDIES[kind]}:{listed(cases)}"
