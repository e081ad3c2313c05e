"""The results tree as the report sees it: paths, and what is found on disk. Where files are is said in planning.results."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from neurostrata.planning import results as tree


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts fold-10 after fold-9."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part
    ]


def relative_link(target: Path, page: Path) -> str:
    """Return the relative URL of `target` as seen from the HTML file `page`, quoted where a URL needs it."""
    link = os.path.relpath(Path(target).resolve(), Path(page).resolve().parent)
    return quote(Path(link).as_posix())


@dataclass(frozen=True)
class Fold:
    """The files of one fold of an experiment; ``name`` is "0".."k-1" or "all"."""

    folder: Path

    @property
    def name(self) -> str:
        """The fold's name without ``fold-``."""
        return self.folder.name.removeprefix("fold-")

    @property
    def history(self) -> Path:
        """Training curve."""
        return self.folder / Path(tree.HISTORY).name

    @property
    def examples(self) -> Path:
        """Mid slices of a few test people, real and decoded."""
        return self.folder / Path(tree.EXAMPLES).name


@dataclass(frozen=True)
class Experiment:
    """The files of one experiment."""

    folder: Path
    #: Kinds of codes that are clustered and finders that cluster them; the first of each leads the report.
    codes: tuple[str, ...] = ("raw",)
    finders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name in the configuration."""
        return self.folder.name

    def _path(self, pattern: str, **names: str) -> Path:
        results = self.folder.parent.parent
        return Path(tree.path_in(results, pattern, experiment=self.name, **names))

    def file(self, name: str) -> Path:
        """Return a file of the experiment itself (splits.tsv, reconstruction.tsv, embeddings.tsv)."""
        return self.folder / name

    def strata(self, name: str, finder: str = "", codes: str = "") -> Path:
        """Return a file of one finder on one kind of codes; by default of those that lead the report."""
        finder = finder or (self.finders[0] if self.finders else "")
        return self._path(tree.CLUSTERS, codes=codes or self.codes[0], finder=finder).with_name(name)

    def quality_tests(self, finder: str = "", codes: str = "") -> Path:
        """Return the tests of quality between clusters; by default of those that lead the report."""
        return self.strata(Path(tree.QUALITY_TESTS).name, finder, codes)

    @property
    def tsne(self) -> Path:
        """The leading codes in two dimensions."""
        return self._path(tree.TSNE)

    @property
    def adjusted_codes(self) -> Path:
        """The codes without the effects of age, sex and other covariates."""
        return self._path(tree.ADJUSTED_CODES)

    @property
    def continuous(self) -> Path:
        """How well factors are predicted without clusters."""
        return self._path(tree.CONTINUOUS)

    @property
    def continuous_added(self) -> Path:
        """What clusters add to the prediction."""
        return self._path(tree.CONTINUOUS_ADDED)

    def folds(self) -> list[Fold]:
        """Return the folds found on disk, in natural order, ``all`` last."""
        found = [Fold(path) for path in self.folder.glob("fold-*") if path.is_dir()]
        return sorted(found, key=lambda fold: (fold.name == "all", _natural(fold.name)))


@dataclass(frozen=True)
class ResultsTree:
    """Paths under the results folder."""

    root: Path
    codes: tuple[str, ...] = ("raw",)
    finders: tuple[str, ...] = ()

    def _path(self, pattern: str, **names: str) -> Path:
        return Path(tree.path_in(self.root, pattern, **names))

    @property
    def subjects(self) -> Path:
        """The people who take part."""
        return self._path(tree.SUBJECTS)

    @property
    def sources(self) -> Path:
        """Where each image of each person was found, for a study without a sheet."""
        return self._path(tree.SOURCES)

    @property
    def exclusions(self) -> Path:
        """Who or what was excluded, with reasons."""
        return self._path(tree.EXCLUSIONS)

    @property
    def characteristics(self) -> Path:
        """Age, sex, site, head size, image quality and other characteristics of everybody."""
        return self._path(tree.CHARACTERISTICS)

    def agreement(self, name: str = "agreement.tsv") -> Path:
        """Return a table of the agreement between clusters of different experiments and finders."""
        return self._path(tree.AGREEMENT).with_name(name)

    @property
    def provenance(self) -> Path:
        """Versions, settings, digests and seeds."""
        return self._path(tree.PROVENANCE)

    def template(self, name: str) -> Path:
        """Return a file of the template folder."""
        return self._path(tree.TEMPLATE).with_name(name)

    def phenotypes(self, name: str) -> Path:
        """Return a file of the phenotypes folder."""
        return self._path(tree.LOADINGS).with_name(name)

    def volume(self, name: str) -> Path:
        """Return a file of the volumes folder."""
        return self._path(tree.GRID_MASK).with_name(name)

    def volumes(self) -> list[Path]:
        """Return the JSON description of every modality's array, by name."""
        return sorted(
            (
                path
                for path in self._path(tree.GRID_MASK).parent.glob("*.json")
                if path.with_suffix(".npy").is_file()
            ),
            key=lambda path: _natural(path.stem),
        )

    def anatomy(self, subject: str, name: str) -> Path:
        """Return a person's file ``derivatives/sub-X/anat/sub-X_{name}``."""
        return self._path(tree.T1W, subject=subject).with_name(f"sub-{subject}_{name}")

    def registration(self, subject: str) -> tuple[Path, Path]:
        """Return the affine and the warp that bring a person's T1-weighted image to the template."""
        return self._path(tree.T1W_AFFINE, subject=subject), self._path(tree.T1W_WARP, subject=subject)

    def diffusion(self, subject: str, name: str) -> Path:
        """Return a person's file ``derivatives/sub-X/dwi/sub-X_{name}``."""
        return self._path(tree.FA, subject=subject).with_name(f"sub-{subject}_{name}")

    def fusion_maps(self, subject: str) -> list[Path]:
        """Return a person's maps on the fusion grid."""
        pattern = self._path(tree.MAP, subject=subject, modality="*")
        return sorted(pattern.parent.glob(pattern.name))

    def subject_page(self, subject: str) -> Path:
        """Return the page of one person."""
        return self._path(tree.SUBJECT_PAGE, subject=subject)

    @property
    def quality_measures(self) -> Path:
        """Everybody's quality measures."""
        return self._path(tree.QUALITY_MEASURES)

    @property
    def quality_deviations(self) -> Path:
        """How far each person is from what is expected, by measure."""
        return self._path(tree.QUALITY_DEVIATIONS)

    @property
    def suggested_exclusions(self) -> Path:
        """Who might be excluded, with reasons."""
        return self._path(tree.SUGGESTED_EXCLUSIONS)

    @property
    def quality_covariates(self) -> Path:
        """What the measures of quality go with: site, age and sex."""
        return self._path(tree.QUALITY_COVARIATES)

    @property
    def raters(self) -> Path:
        """How well those agree who decide about quality."""
        return self._path(tree.RATERS)

    @property
    def people_data(self) -> Path:
        """The numbers of everybody, as a script that people's pages and the reviewing page load."""
        return self._path(tree.PEOPLE_DATA)

    @property
    def review_page(self) -> Path:
        """The page on which people look at everybody and decide."""
        return self._path(tree.REVIEW_PAGE)

    def experiment(self, name: str) -> Experiment:
        """Return the files of the experiment called `name`."""
        return Experiment(self._path(tree.SPLITS, experiment=name).parent, self.codes, self.finders)

    def experiments(self) -> list[Experiment]:
        """Return the experiments found on disk."""
        found = [
            path for path in self._path(tree.SPLITS, experiment="*").parent.parent.glob("*") if path.is_dir()
        ]
        return [self.experiment(path.name) for path in sorted(found, key=lambda path: _natural(path.name))]
