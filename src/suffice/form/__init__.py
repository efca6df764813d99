"""A model in one form: its file in a folder, what runs it, and with which settings; what it takes and gives."""
