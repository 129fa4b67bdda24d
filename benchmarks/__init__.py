"""Measurements: ratios within one run, three repeats, medians. Each script writes its table into `docs/`."""
