"""A data set, looked at from the outside: what an item calls, what repeats, what it rests on; the job unnoticing."""
