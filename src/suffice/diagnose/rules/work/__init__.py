"""Rung 4, a busy device that does needless work or is used in part."""
