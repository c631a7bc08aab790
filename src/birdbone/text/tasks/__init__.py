"""Benchmark tasks in local files: each form is a YAML file beside this one, in lm-evaluation-harness's own words."""
