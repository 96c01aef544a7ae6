"""Exports: a completed curation as files that other software reads, and that can be uploaded again."""
