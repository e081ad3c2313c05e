"""The fusion grid: each person's maps on it, brain regions, and one array per modality."""
