"""HCP's and UK Biobank's folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids_trees import plant
from image_trees import write_table

from neurostrata.beginning.configuration import CORRECTED, choose_phenotypes
from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.looking import look_at
from neurostrata.cohort.discovery.layouts import HCP
from neurostrata.core.errors import UserError
from neurostrata.core.locations import RESOURCES
from neurostrata.core.text_tables import read_text_table

PEOPLE = ["100206", "100307", "100408", "100610"]


def found(root: Path, **wishes: object) -> Findings:
    return look_at(root, root / "study", Wishes(**wishes))  # type: ignore[arg-type]


def hcp(root: Path) -> Path:
    """The release with its two tables, the variables of the paper among others."""
    plant(root, [f"{person}/T1w/{name}" for person in PEOPLE for name in HCP.values()], kind=None)
    table = read_text_table(RESOURCES / "hcp_phenotypes.tsv")
    for kind in ("unrestricted", "restricted"):
        columns = {
            n: "number" for n, where in zip(table.column("column"), table.column("hcp_file")) if where == kind
        }
        write_table(root / f"{kind}.csv", [*PEOPLE, "999999"], columns | {f"FS_{kind}": "number"}, "Subject")
    return root


def test_hcp_with_its_two_tables(tmp_path: Path) -> None:
    root = hcp(tmp_path / "HCP_1200")
    findings = found(root)
    assert findings.cohort == {"sheet": None, "hcp": str(root)}
    assert len(findings.having("t1w", "dwi", "grad_dev")) == 4
    assert findings.in_t1w_space
    phenotypes = choose_phenotypes(findings, hcp=True)
    assert phenotypes.values == {
        "tables": [str(root / "restricted.csv"), str(root / "unrestricted.csv")],
        "variables": "dimitri2022",
    }


def test_families_of_hcp_are_taken(tmp_path: Path) -> None:
    root = hcp(tmp_path / "HCP_1200")
    restricted = root / "restricted.csv"
    header, *lines = restricted.read_text().splitlines()
    lines = [f"{line},{n // 2}_A" for n, line in enumerate(lines)]
    restricted.write_text("\n".join([f"{header},Family_ID", *lines]) + "\n")
    findings = found(root)
    choose_phenotypes(findings, hcp=True)
    assert findings.cohort == {"sheet": None, "hcp": str(root), "columns": {"family": "Family_ID"}}


def test_a_named_table_that_only_describes_people_is_not_left_out_in_silence(tmp_path: Path) -> None:
    root = hcp(tmp_path / "HCP_1200")
    (root / "restricted.csv").unlink()
    table = tmp_path / "families.csv"
    table.write_text("Subject,Age_in_Yrs,Family_ID\n" + "".join(f"{p},3{p[3]},{p[:3]}_A\n" for p in PEOPLE))
    named = found(root, tables=[str(root / "unrestricted.csv"), str(table)])
    phenotypes = choose_phenotypes(named, hcp=True)
    assert phenotypes.values["tables"] == [str(root / "unrestricted.csv"), str(table)]
    assert named.cohort["columns"] == {"family": "Family_ID"}
    (root / "unrestricted.csv").unlink()
    alone = found(root, tables=[str(table)])
    assert not choose_phenotypes(alone, hcp=True).tables
    assert alone.unused == [
        f"{table}: has no variables that could be compared (columns: Subject, Age_in_Yrs, Family_ID)"
    ]


def test_hcp_with_one_table_takes_the_variables_that_are_there(tmp_path: Path) -> None:
    root = hcp(tmp_path / "HCP_1200")
    (root / "restricted.csv").unlink()
    phenotypes = choose_phenotypes(found(root), hcp=True)
    assert "Gender" in phenotypes.values["variables"]
    assert not {"Age_in_Yrs", "FS_unrestricted"} & set(phenotypes.values["variables"])
    assert "are not in this table" in phenotypes.comments["variables"]


def test_people_without_a_row_in_a_table_that_only_describes_people_lack_no_variable(tmp_path: Path) -> None:
    root = plant(tmp_path / "HCP", [f"{person}/T1w/{HCP['t1w']}" for person in PEOPLE], kind=None)
    write_table(root / "scores.csv", PEOPLE, {"memory": "number", "mood": "number"}, "Subject")
    ages = write_table(tmp_path / "ages.csv", PEOPLE[:1], {"Age": "number"}, "Subject")
    phenotypes = choose_phenotypes(found(root, tables=[str(ages)]), hcp=True)
    assert phenotypes.values["tables"] == [str(root / "scores.csv"), str(ages)]
    assert "missing" not in phenotypes.values


def test_a_table_that_only_describes_people_never_takes_the_place_of_the_phenotypes(tmp_path: Path) -> None:
    """Even where the phenotypes' ids have to be corrected."""
    root = plant(tmp_path / "HCP", [f"{person}/T1w/{HCP['t1w']}" for person in PEOPLE], kind=None)
    dashed = [f"{person[:3]}-{person[3:]}" for person in PEOPLE]
    scores = write_table(root / "scores.csv", dashed, {"memory": "number", "mood": "number"}, "Subject")
    ages = write_table(tmp_path / "ages.csv", PEOPLE, {"Age": "number"}, "Subject")
    findings = found(root, tables=[str(ages)])
    phenotypes = choose_phenotypes(findings, hcp=True)
    assert phenotypes.values["tables"] == [CORRECTED]
    assert phenotypes.corrected is not None
    assert phenotypes.corrected[0] == ["subject", "memory", "mood"]
    assert [line[0] for line in phenotypes.corrected[1:]] == PEOPLE
    assert f"{ages}: its column of ids is not that of {scores}; write the same ids in both" in findings.unused


def test_hcps_other_variables_are_taken_as_those_of_any_other_cohort(tmp_path: Path) -> None:
    """Of HCP's Lifespan studies: what describes people is adjusted for, and gaps are filled in."""
    root = plant(tmp_path / "HCPA", [f"{person}/T1w/{HCP['t1w']}" for person in PEOPLE], kind=None)
    cells = ("40,1,7,9", "41,2,,8", "42,4,3,7", "43,5,6,")
    lines = [f"{person},{rest}" for person, rest in zip(PEOPLE, cells)]
    (root / "scores.csv").write_text("\n".join(["Subject,Age,memory,mood,sleep", *lines]) + "\n")
    phenotypes = choose_phenotypes(found(root), hcp=True)
    assert "missing" not in phenotypes.values  # half of the people have every variable
    (root / "scores.csv").write_text((root / "scores.csv").read_text().replace("4,3,7", "4,3,"))
    phenotypes = choose_phenotypes(found(root), hcp=True)
    assert phenotypes.values == {
        "tables": [str(root / "scores.csv")],
        "exclude": ["Age"],
        "missing": "median",
        "method": "variables",
    }
    assert phenotypes.comments["method"].startswith("3 variables")


def test_visits_of_lifespan_are_a_question(tmp_path: Path) -> None:
    names = [f"fmriresults01/HCA{p}_V{v}_MR/T1w/{HCP['t1w']}" for p in ("6001", "6002") for v in (1, 2)]
    root = plant(tmp_path / "HCPA", [*names, f"fmriresults01/HCA6003_V1_MR/T1w/{HCP['t1w']}"], kind=None)
    with pytest.raises(UserError, match="2 of 3 people have several visits") as error:
        found(root)
    assert (
        "  --session-label V1   (3 people)\n  --session-label V2   (2 people)\n  --session-label first"
        in str(error.value)
    )
    # of the people who were asked for, nobody or one has several
    alone = found(root, participants=["HCA6003"])
    assert [row["subject"] for row in alone.rows] == ["HCA6003"]
    with pytest.raises(UserError, match="1 of 2 people have several visits"):
        found(root, participants=["HCA6001", "sub-HCA6003"])
    with pytest.raises(UserError, match=r"not found.*HCA6004"):
        found(root, participants=["HCA6003", "HCA6004"])
    findings = found(root, session="V1")
    assert findings.cohort == {"sheet": None, "hcp": str(root / "fmriresults01"), "sessions": "V1"}
    assert findings.comments == {"sessions": "or V2, first, last, all"}
    assert alone.comments == {}
    with pytest.raises(UserError, match="the names are fixed"):
        found(root, filters={"t1w": {"run": "1"}})


def test_uk_biobank(tmp_path: Path) -> None:
    names = [f"10000{n}_20252_2_0/T1/T1.nii.gz" for n in range(4)]
    root = plant(tmp_path / "ukb", [*names, "100000_20253_2_0/T2_FLAIR/T2_FLAIR.nii.gz"], kind=None)
    write_table(root / "ukb.csv", [f"10000{n}" for n in range(4)], {"f1": "number", "f2": "number"}, "eid")
    findings = found(root)
    assert findings.cohort == {"sheet": None, "ukb": str(root)}
    assert not findings.in_t1w_space
    assert findings.further == ["flair"]
    assert choose_phenotypes(findings, hcp=False).values["id_column"] == "eid"


def test_two_layouts_in_one_folder_are_refused(tmp_path: Path) -> None:
    root = hcp(tmp_path / "both")
    plant(root, ["sub-01/anat/sub-01_T1w.nii.gz"])
    with pytest.raises(UserError, match=r"looks like BIDS .* and like HCP"):
        found(root)
