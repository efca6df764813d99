"""suffice: deep-learning work that uses no more compute, money, energy and carbon than its goal needs, and proves it.

records   the nouns · tables   dated facts · aws   the cloud's own interfaces · agent   rides in the user's process
run       start a target · measure   target -> profile · keep   ledger and report · cli   the verbs
"""

__version__ = "0.1.0"
