"""The sps_scan stage."""
