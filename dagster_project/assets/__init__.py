"""The assets of the whole path; asset name = table name."""
