"""A folder of cases, unattended."""
