"""An order -> one course of the job: seeded, its first steps recorded, then ended (`recorder.CourseRecorder`)."""

from .recorder import CourseRecorder
from .seeding import seed

__all__ = ["CourseRecorder", "seed"]
