"""Measuring guards on labelled data: `safeguard evaluate` and `safeguard calibrate`."""
