"""Exports: a completed curation as files that other software reads, and that can be put in again."""
