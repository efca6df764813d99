"""The nouns that the rooms exchange: frozen records with units in their names; imports nothing of ours.

A `Figure` is a number that never loses its unit and its origin on the way to the screen. A `Profile` is what was
measured of a target, a `Trial` what was compared. All turn into plain JSON and back (`as_json`, `Profile.from_json`).
"""

from __future__ import annotations

from suffice.records.figures import Figure, Origin, estimated, looked_up, measured, product
from suffice.records.models import BundleDifference, FormTrial, ModelSearch, OutputGap, front
from suffice.records.plain import as_json
from suffice.records.profile import PROFILE_SCHEMA, Goal, Loader, Note, Profile, Rank, Series, Target
from suffice.records.trials import Change, Course, Finding, Judgement, Outcome, Risk, Search, Trial, Verdict

__all__ = [
    "PROFILE_SCHEMA",
    "BundleDifference",
    "Change",
    "Course",
    "Figure",
    "Finding",
    "FormTrial",
    "Goal",
    "Judgement",
    "Loader",
    "ModelSearch",
    "Note",
    "Origin",
    "Outcome",
    "OutputGap",
    "Profile",
    "Rank",
    "Risk",
    "Search",
    "Series",
    "Target",
    "Trial",
    "Verdict",
    "as_json",
    "estimated",
    "front",
    "looked_up",
    "measured",
    "product",
]
