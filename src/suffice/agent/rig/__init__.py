"""Orders -> changes switched on and off inside the job: for a plan's run, for a trial, for a course."""
