"""A profile -> the changes worth a trial, each with its settings; and their other halves, which the job runs."""
