"""A folder with images that follow no standard: whose image each is, and what kind it is, by the names of files and folders.

Ids come from a table whose cells occur in the names, else from the one part of the names that differs between people.
Nothing is taken that could also be something else: the message then names the candidates and the option that decides.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from pathlib import Path

from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.tables import PeopleTable, id_columns, may_be_table, read_tables
from neurostrata.cohort.discovery.messages import listed, ordered
from neurostrata.cohort.ids import plain_id
from neurostrata.cohort.image_words import DWI, MASK, PREPARED, T1W, image_column
from neurostrata.core.errors import UserError
from neurostrata.core.text_tables import read_text_table
from neurostrata.core.wording import count, join_words
from neurostrata.gate.headers import read_facts, trimmed
from neurostrata.planning.results import holds_results

#: How names of images end, the longest first.
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img")
_TOKEN = re.compile(r"[A-Za-z0-9]+")
#: Longest id, in parts between punctuation (OAS1_0001_MR1 has three).
_LONGEST = 4
_MOST = 6


@dataclass(frozen=True)
class Image:
    """An image: its path below the folder, and the parts of it between punctuation."""

    path: str

    @cached_property
    def stem(self) -> str:
        """The path without the suffix of images."""
        return next(self.path[: -len(end)] for end in SUFFIXES if self.path.lower().endswith(end))

    @cached_property
    def parts(self) -> list[list[str]]:
        """Tokens of each folder, and of the file's name."""
        return [_TOKEN.findall(part) for part in self.stem.split("/")]

    def runs(self) -> Iterator[tuple[str, ...]]:
        """Yield every run of tokens that may be an id: of one to four tokens within a folder's or the file's name."""
        for tokens in self.parts:
            for start in range(len(tokens)):
                for end in range(start + 1, min(start + _LONGEST, len(tokens)) + 1):
                    yield tuple(tokens[start:end])


@dataclass
class Owned:
    """Images of people: id as the names have it -> its images, those of nobody, and where the ids came from."""

    images: dict[tuple[str, ...], list[Image]]
    nobodys: list[Image]
    source: str


@dataclass
class Folder:
    """The files of a folder."""

    root: Path
    images: list[Image] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    gradients: set[str] = field(default_factory=set)


def read_folder(root: Path, leave_out: Path) -> Folder:
    """Return the images, tables and gradients of a folder and all below it; hidden ones, `leave_out` and the results of studies are not searched."""
    found = Folder(root)
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and Path(place, name) != leave_out and not holds_results(Path(place, name))
        )
        for name in sorted(files):
            path = Path(place, name)
            relative = path.relative_to(root).as_posix()
            if name[0] == ".":
                continue
            if name.lower().endswith(SUFFIXES):
                found.images.append(Image(relative))
            elif name.endswith((".bval", ".bvec", ".bvals", ".bvecs")) or name in ("bvals", "bvecs"):
                found.gradients.add(relative)
            elif may_be_table(path):
                found.tables.append(str(path))
    return found


def _key(identity: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(plain_id(identity)))


def _is_part(run: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether a run of tokens is a part of another, longer one."""
    starts = range(len(other) - len(run) + 1)
    return len(run) < len(other) and any(other[start : start + len(run)] == run for start in starts)


def _owned(images: Sequence[Image], ids: Iterable[tuple[str, ...]], source: str) -> Owned | None:
    """Return whose image each is, None when an image may be of two people."""
    wanted = set(ids) - {()}
    owned: dict[tuple[str, ...], list[Image]] = defaultdict(list)
    nobodys = []
    for image in images:
        # of 01 and 01-2 in one name, the longer is meant
        whose = {run for run in image.runs() if run in wanted}
        longest = {run for run in whose if not any(_is_part(run, other) for other in whose)}
        if len(longest) > 1:
            return None
        for run in longest:
            owned[run].append(image)
        if not longest:
            nobodys.append(image)
    return Owned(dict(owned), nobodys, source)


def _by_table(images: Sequence[Image], tables: Sequence[str]) -> Owned | None:
    """Return whose image each is by the table whose ids occur in most names; None when no table has such ids."""
    best: Owned | None = None
    most = 0
    runs = {run for image in images for run in image.runs()}
    for path in tables:
        try:
            table = read_text_table(path)
        except UserError:
            continue  # said later
        for column in id_columns(table):
            ids = {_key(cell) for cell in table.column(column)} & runs
            if len(ids) < 2:
                continue
            found = _owned(images, ids, f"column {column} of {path}")
            people = len(found.images) if found else 0
            named = sum(map(len, found.images.values())) if found else 0
            if people > 1 and 2 * named >= len(images) and people > most:
                best, most = found, people
    return best


def _by_names(images: Sequence[Image], t1w: Sequence[Image]) -> Owned:
    """Return whose image each is by the one part of the names of T1w images that differs between all of them.

    Raises
    ------
    UserError
        When no part, or more than one, may be the id.
    """
    after_sub = [
        next((tokens[n + 1] for tokens in i.parts for n in range(len(tokens) - 1) if tokens[n] == "sub"), "")
        for i in t1w
    ]
    if t1w and all(after_sub):
        found = _owned(images, {(token,) for token in after_sub}, "the names (sub-...)")
        if found:
            return found
    shapes = Counter(tuple(map(len, image.parts)) for image in t1w)
    candidates: dict[tuple[str, ...], str] = {}
    if len(shapes) == 1:
        for place in range(len(t1w[0].parts)):
            for position in range(len(t1w[0].parts[place])):
                values = tuple(image.parts[place][position] for image in t1w)
                if len(set(values)) == len(values):
                    candidates.setdefault(values, _pattern(t1w, place, position))
    if len(candidates) == 1:
        (values,) = candidates
        found = _owned(
            images, {(value,) for value in values}, f"the names, {next(iter(candidates.values()))}"
        )
        if found:
            return found
    offered = [f"  --path-t1w '{pattern}'" for pattern in candidates.values()] or [
        "  --path-t1w 'FOLDER/{subject}_*_T1w.nii.gz'   ({subject}: the id; *: anything)"
    ]
    unclear = "which part of their names is the person's id"
    if not any(map(_looks_like_t1w, t1w)):
        unclear = "which images are T1-weighted, and which part of their names is the person's id"
    raise UserError(
        f"nothing was written.\nno table has ids that occur in the names of the images, and from the names alone it is not clear {unclear}:"
        f"{listed([image.path for image in t1w])}\nsay it with\n" + "\n".join(offered[:_MOST])
    )


def _pattern(images: Sequence[Image], place: int, position: int) -> str:
    """Return the path of images with ``{subject}`` in place of one token, and ``*`` for each other one in which they differ."""
    first = images[0]
    differ = [
        len({image.parts[n][m] for image in images}) > 1
        for n, tokens in enumerate(first.parts)
        for m in range(len(tokens))
    ]
    target = sum(map(len, first.parts[:place])) + position
    tokens = iter(enumerate(differ))

    def replaced(match: re.Match[str]) -> str:
        number, differs = next(tokens)
        return "{subject}" if number == target else "*" if differs else match.group()

    return _TOKEN.sub(replaced, first.stem) + first.path[len(first.stem) :]


def _matching(folder: Folder, option: str, pattern: str) -> dict[tuple[str, ...], list[Image]]:
    """Return person -> images whose names fit a pattern with ``{subject}``; the id is what stands in its place.

    Raises
    ------
    UserError
        When the pattern has no place for an id or fits no image, or two people would have one id.
    """
    place = f"{option} {pattern}"
    pattern = pattern.removeprefix(f"{folder.root}/")
    if pattern.count("{subject}") != 1:
        raise UserError(f"{place}: needs one {{subject}} in the place of the person's id")
    before, after = pattern.split("{subject}")
    if re.search("[{}]", before + after):
        raise UserError(f"{place}: no other word in braces than {{subject}} has a meaning; write * for it")
    expression = re.compile(
        f"(?:.*/)?{translate(before)[4:-3]}(?P<subject>[^/]+?){translate(after)[4:-3]}", re.DOTALL
    )
    found: dict[tuple[str, ...], list[Image]] = defaultdict(list)
    written: dict[tuple[str, ...], str] = {}
    for image in folder.images:
        match = expression.fullmatch(image.path)
        if not match or not (key := _key(match["subject"])):
            continue
        identity = plain_id(match["subject"])
        if written.setdefault(key, identity) != identity:
            raise UserError(
                f"{place}: {written[key]} and {identity} are the same id once they are written with letters and digits "
                "only; rename the files"
            )
        found[key].append(image)
    if not found:
        raise UserError(
            f"{place}: no image has such a name; there are{listed([image.path for image in folder.images])}"
        )
    return dict(found)


def _by_pattern(folder: Folder, option: str, pattern: str) -> Owned:
    """Return whose image each is by a pattern with ``{subject}``."""
    matching = _matching(folder, option, pattern)
    chosen = {image.path for images in matching.values() for image in images}
    others = [image for image in folder.images if image.path not in chosen]
    found = _owned(others, matching, f"the names, {pattern}")
    if found is None:
        raise UserError(
            f"{option} {pattern}: with these ids some image is of two people; write more of the name around {{subject}}"
        )
    found.images = {owner: [*images, *found.images.get(owner, ())] for owner, images in matching.items()}
    return found


@dataclass(frozen=True)
class _Kind:
    """What the names of an image say: words of the file (or, when it has none, of its folder) that are not the id."""

    words: tuple[str, ...]

    @property
    def column(self) -> str:
        """The column of the sheet: t1w, dwi, a mask of these, or a name made of the words."""
        known = image_column(self.words)
        if known:
            return known
        name = "".join(word for word in self.words if word.lower() not in ("sub", "ses"))
        return name if name[:1].isalpha() else f"image{name}"


def _kind(image: Image, owner: tuple[str, ...], common: Collection[str]) -> _Kind:
    """Return what an image's name says, apart from its owner's id and words that few other people's images have."""
    for tokens in reversed(image.parts):
        left = list(tokens)
        for start in range(len(left) - len(owner), -1, -1):
            if tuple(left[start : start + len(owner)]) == owner:
                del left[start : start + len(owner)]
        words = tuple(word for word in left if word in common)
        if {word.lower() for word in words} - PREPARED:
            return _Kind(words)
    return _Kind(tuple(word for word in image.parts[-1] if word in common))


def _columns(owned: Owned) -> dict[str, dict[tuple[str, ...], list[Image]]]:
    """Return column -> person -> images."""
    held: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for owner, images in owned.images.items():
        for image in images:
            for tokens in image.parts:
                for token in tokens:
                    held[token].add(owner)
    fewest = max(2, len(owned.images) / 10)
    common = {token for token, owners in held.items() if len(owners) >= fewest}
    common |= {token for token in held if token.lower() in T1W | DWI | MASK}
    columns: dict[str, dict[tuple[str, ...], list[Image]]] = defaultdict(lambda: defaultdict(list))
    for owner, images in owned.images.items():
        for image in images:
            columns[_kind(image, owner, common).column][owner].append(image)
    return columns


def _gradients(image: Image, known: Collection[str]) -> Mapping[str, str]:
    """Return the gradient files beside a diffusion-weighted image."""
    folder = image.path.rpartition("/")[0]
    found = {}
    for column in ("bval", "bvec"):
        beside = f"{folder}/{column}s" if folder else f"{column}s"
        for name in (f"{image.stem}.{column}", f"{image.stem}.{column}s", beside):
            if name in known:
                found[column] = name
                break
    return found


def look_at_loose(root: Path, leave_out: Path, wishes: Wishes) -> Findings:
    """Return what a folder of loose images holds.

    Raises
    ------
    UserError
        When people or kinds of images cannot be told from the names, with the choices.
    """
    if wishes.filters or wishes.session or wishes.run:
        raise UserError(
            "--filter-t1w, --filter-dwi, --session-label and --run-label choose among BIDS's names of files, and this folder is not in BIDS; "
            "choose images with --path-t1w and --path-dwi"
        )
    folder = read_folder(root, leave_out)
    if not folder.images:
        raise UserError(f"{root}: no images in it (names that end in {', '.join(SUFFIXES)})")
    tables = [*folder.tables, *wishes.tables]
    pattern = wishes.patterns.get("t1w")
    owned = _by_pattern(folder, "--path-t1w", pattern) if pattern else _by_table(folder.images, tables)
    if owned is None:
        likely = [image for image in folder.images if _looks_like_t1w(image)]
        # images of one kind, so that each person has one: not T1w_mask, T1w_seg
        last = Counter(image.parts[-1][-1] for image in likely if image.parts[-1][-1].lower() in T1W)
        plain = [image for image in likely if last and image.parts[-1][-1] == last.most_common(1)[0][0]]
        owned = _by_names(folder.images, plain or likely or folder.images)
    columns = _columns(owned)
    for column, chosen in wishes.patterns.items():
        taken = _matching(folder, f"--path-{column}", chosen)
        if not taken.keys() & owned.images.keys():
            ids, known = ("".join(next(iter(some))) for some in (taken, owned.images))
            raise UserError(
                f"--path-{column} {chosen}: its ids are none of the people's ({ids} and so on, the people are {known} and so on); "
                "put {subject} where only the person's id stands"
            )
        _remove(columns, {image.path for images in taken.values() for image in images})
        columns[column] = taken
        for owner in taken.keys() - owned.images.keys():  # people without a T1w image, who are said
            owned.images[owner] = taken[owner]
    if wishes.participants:
        _keep(owned, columns, wishes.participants)
    _refuse_unclear(columns, owned, root)
    return _findings(folder, owned, columns, tables, wishes)


def _remove(columns: dict[str, dict[tuple[str, ...], list[Image]]], paths: Collection[str]) -> None:
    """Take images that a pattern chose out of the columns that their names mean."""
    for column, whose in list(columns.items()):
        left = {
            owner: kept
            for owner, images in whose.items()
            if (kept := [i for i in images if i.path not in paths])
        }
        if left:
            columns[column] = left
        else:
            del columns[column]


def _keep(
    owned: Owned, columns: dict[str, dict[tuple[str, ...], list[Image]]], participants: Sequence[str]
) -> None:
    """Take the images of all people but these away: what is wrong with others' is a reason not to ask for them."""
    asked = {"".join(_key(name)) for name in participants}
    absent = sorted(asked - {"".join(owner) for owner in owned.images})
    if absent:
        raise UserError(f"--participant-label {' '.join(absent[:5])}: no image of that person")
    owned.images = {owner: images for owner, images in owned.images.items() if "".join(owner) in asked}
    for column, whose in list(columns.items()):
        columns[column] = {owner: images for owner, images in whose.items() if "".join(owner) in asked}
        if not columns[column]:
            del columns[column]


def _looks_like_t1w(image: Image) -> bool:
    return _Kind(tuple(image.parts[-1])).column == "t1w" or bool({t.lower() for t in image.parts[-1]} & T1W)


def _refuse_unclear(
    columns: Mapping[str, Mapping[tuple[str, ...], list[Image]]], owned: Owned, root: Path
) -> None:
    """Raise when nobody has a T1w image, or somebody has two."""
    if not columns.get("t1w"):
        examples = [f"{column}: {next(iter(whose.values()))[0].path}" for column, whose in columns.items()]
        offered = [
            f"  --path-t1w '{_alike([_generic(owner, images[0]) for owner, images in whose.items()])}'"
            for whose in columns.values()
        ]
        raise UserError(
            f"nothing was written.\n{root}: no name says that an image is T1-weighted (T1w, T1, mprage ...). The kinds of images are:"
            f"{listed(examples)}\nsay which are T1-weighted with one of\n" + "\n".join(offered[:_MOST])
        )
    for column in ("t1w", "dwi"):
        several = {owner: images for owner, images in columns.get(column, {}).items() if len(images) > 1}
        if several:
            shown = [
                f"{''.join(owner)}: {', '.join(i.path for i in images[:4])}"
                for owner, images in several.items()
            ]
            owner, images = next(iter(several.items()))
            offered = [f"  --path-{column} '{_generic(owner, image)}'" for image in images]
            raise UserError(
                f"nothing was written.\n{count(len(several), 'person has', 'people have')} more than one {column} image, and only you know "
                f"which to take:{listed(shown)}\nchoose with one of\n" + "\n".join(offered[:_MOST])
            )


def _alike(paths: Sequence[str]) -> str:
    """Return the first of some people's paths with ``*`` for what is not the same in all, such as the date of the scan."""
    tokens = [_TOKEN.findall(path) for path in paths]
    if len({len(each) for each in tokens}) == 1:
        same = iter([len(set(place)) == 1 for place in zip(*tokens)])
    else:
        same = iter([all(token in each for each in tokens) for token in tokens[0]])
    return _TOKEN.sub(lambda match: match.group() if next(same) else "*", paths[0])


def _generic(owner: tuple[str, ...], image: Image) -> str:
    """Return an image's path with ``{subject}`` in place of the last occurrence of its owner's id, ``*`` for others."""
    expression = re.compile(
        r"(?<![A-Za-z0-9])" + r"[^A-Za-z0-9/]*".join(map(re.escape, owner)) + r"(?![A-Za-z0-9])"
    )
    places = list(expression.finditer(image.path))
    text = image.path
    for match in reversed(places):
        word = "{subject}" if match is places[-1] else "*"
        text = text[: match.start()] + word + text[match.end() :]
    return text


def _findings(
    folder: Folder,
    owned: Owned,
    columns: Mapping[str, Mapping[tuple[str, ...], list[Image]]],
    tables: Sequence[str],
    wishes: Wishes,
) -> Findings:
    root, names = folder.root, {owner: "".join(owner) for owner in owned.images}
    twice = [name for name, number in Counter(names.values()).items() if number > 1]
    if twice:
        raise UserError(
            f"the ids {', '.join(twice[:3])} are those of two people once they are written with letters and digits only; rename the files"
        )
    notes, unused = [f"ids from {owned.source}"], []
    rows = {name: {"subject": name} for name in names.values()}
    further: list[str] = []
    bare: list[str] = []
    for column, whose in columns.items():
        usable = {names[owner]: images for owner, images in whose.items() if len(images) == 1}
        doubled = len(whose) - sum(len(images) == 1 for images in whose.values())
        known = column in ("t1w", "t1w_mask", "dwi", "dwi_mask")
        # an image of a few people is no column of a study
        few = not known and len(usable) < max(2, len(rows) / 2)
        if doubled or few:
            some = next(iter(whose.values()))[0].path
            why = (
                f"several for {count(doubled, 'person', 'people')}"
                if doubled
                else f"only {len(usable)} people have one"
            )
            of = f" ({column})" if known else ""
            unused.append(f"{sum(map(len, whose.values()))} images such as {some}{of}: {why}")
        if not known:
            if doubled or few:
                continue
            further.append(column)
        for name, images in usable.items():
            gradients = _gradients(images[0], folder.gradients) if column == "dwi" else {}
            if column == "dwi" and len(gradients) < 2:
                bare.append(images[0].path)
                continue
            rows[name][column] = str(root / images[0].path)
            rows[name] |= {key: str(root / path) for key, path in gradients.items()}
    if bare:
        unused.append(
            f"{count(len(bare), 'diffusion-weighted image')} without gradients (.bval and .bvec of the same name): {bare[0]}"
        )
    without = [name for name, row in rows.items() if not row.get("t1w")]
    if without:
        unused.append(
            f"{count(len(without), 'person', 'people')} without a T1w image: {', '.join(without[:5])}"
        )
    kept = {name: row for name, row in rows.items() if row.get("t1w")}
    if owned.nobodys:
        unused.append(
            f"{count(len(owned.nobodys), 'image')} without an id in the name: {', '.join(i.path for i in owned.nobodys[:3])}"
        )
    unused += [*_unusable_t1w(kept), *_wrong_dimensions(kept)]
    found, unread = read_tables(tables, kept)
    there = [
        c
        for c in ("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask")
        if any(r.get(c) for r in kept.values())
    ]
    facts = _add_facts(kept, found, notes)
    findings = Findings(
        layout=f"loose images: {root}",
        cohort={"sheet": "config/cohort.tsv"},
        rows=[kept[name] for name in ordered(kept)],
        sheet=["subject", *there, *further, *facts],
        tables=found,
        further=further,
        notes=notes,
        unused=[*unused, *unread],
    )
    with_variables = [table.path for table in found if table.variables]
    named = [path for path in with_variables if path in wishes.tables]
    findings.certain = named or (with_variables if len(found) == 1 else [])
    return findings


def _unusable_t1w(rows: Mapping[str, dict[str, str]]) -> Iterator[str]:
    """Look at the header of the first T1w image: raise when it is a series, yield when it cannot be read."""
    first = next((row["t1w"] for row in rows.values() if row.get("t1w")), None)
    if first is None:
        return
    facts = read_facts(first, Path(first).stat().st_size)
    if "problem" in facts:
        yield f"T1w images: {first} {facts['problem']} (neurostrata check reads all of them)"
    elif len(shape := trimmed(facts["shape"])) != 3:
        raise UserError(
            f"T1w images: {first} has shape {shape}, and a T1w image has three dimensions; say with --path-t1w which images "
            "are T1-weighted"
        )


def _wrong_dimensions(rows: Mapping[str, dict[str, str]]) -> Iterator[str]:
    """Take away diffusion data that are no series, by the header of the first; yield why."""
    first = next((row for row in rows.values() if row.get("dwi")), None)
    if first is None:
        return
    path = first["dwi"]
    facts = read_facts(path, Path(path).stat().st_size)
    if "problem" not in facts and len(facts["shape"]) < 4:
        for row in rows.values():
            for column in ("dwi", "bval", "bvec", "dwi_mask"):
                row.pop(column, None)
        yield f"diffusion-weighted images: {path} is a single volume, not a series"


def _add_facts(
    rows: Mapping[str, dict[str, str]], tables: Sequence[PeopleTable], notes: list[str]
) -> list[str]:
    """Copy what tables say of people (age, sex, site, ...) into their rows; return the columns."""
    columns: list[str] = []
    for table in tables:
        new = {name: name.lower() for name in table.facts if name.lower() not in columns}
        for name, column in new.items():
            for person, cell in zip(table.people, table.table.column(name)):
                if person in rows:
                    rows[person][column] = cell
        columns += new.values()
        if new:
            notes.append(f"{join_words(list(new))} of people from {table.path}")
    return columns
