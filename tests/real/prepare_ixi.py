"""Write the cohort sheet and phenotype table of the 60 real brains (60 people of the IXI data set).

    python tests/real/prepare_ixi.py DATA FOLDER [--people 12] [--template 6]

DATA holds ``ixi/`` (T1w images at 2 mm without skull, DLMUSE labels and volumes, age, sex). FOLDER gets
``cohort.tsv`` and ``phenotypes.tsv``; the images stay where they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

#: DLMUSE label numbers, both sides summed.
REGIONS = {
    "lateral_ventricles": ["51", "52"],
    "hippocampi": ["47", "48"],
    "amygdalae": ["31", "32"],
    "caudates": ["36", "37"],
    "thalami": ["59", "60"],
    "putamina": ["57", "58"],
    "cerebellum": ["38", "39"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--template", type=int, help="how many of them build the template (all)")
    arguments = parser.parse_args()
    ixi = arguments.data.resolve() / "ixi"
    people = pd.read_csv(ixi / "participants.tsv", sep="\t").sort_values("subject").head(arguments.people)
    volumes = pd.read_csv(ixi / "dlmuse_volumes_mm3.tsv", sep="\t").set_index("subject")
    table = people[["subject", "age", "sex"]].set_index("subject")
    for name, labels in REGIONS.items():
        table[name] = volumes.loc[table.index, labels].sum(axis=1)
    table["brain"] = volumes.loc[table.index, "702"]
    sheet = pd.DataFrame({"subject": people["subject"]})
    sheet["t1w"] = [str(ixi / "t1w" / f"{subject}_T1w.nii.gz") for subject in people["subject"]]
    # Evenly over the list, which is in the order of acquisition.
    every = len(people) / (arguments.template or len(people))
    members = {int(number * every) for number in range(arguments.template or len(people))}
    sheet["template"] = ["yes" if number in members else "no" for number in range(len(people))]
    # the two ends of adult life, for an experiment whose groups are known
    age = people["age"].to_numpy()
    sheet["age_group"] = np.select([age < 35, age > 60], ["young", "old"], "middle")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sheet.to_csv(arguments.folder / "cohort.tsv", sep="\t", index=False)
    table.to_csv(arguments.folder / "phenotypes.tsv", sep="\t")


if __name__ == "__main__":
    main()
