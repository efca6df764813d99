"""Change -> Trial: a change is compared with what was kept so far, and kept if it proved itself."""
