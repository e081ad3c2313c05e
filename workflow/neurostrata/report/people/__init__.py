"""What the report shows of single people: pictures, numbers, and where each person lies in the cohort."""
