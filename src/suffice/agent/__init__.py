"""The part that rides inside the user's process: the standard library and the user's own torch, nothing else.

It is staged as the package `suffice_agent` in a folder on `PYTHONPATH`, so it imports only itself, and keeps to what
Python 3.9 knows. Nothing in here may raise into the job: see `session.Session.guarded`.

boot      interpreter start: the user's own sitecustomize, then the session once torch is imported
session   one process's agent: installs the hooks, stands aside on any fault of its own
hooks     the places in torch that are wrapped · roots   the modules whose calls are the forward pass
phases    exclusive time by phase · steps   where a step ends · loaders   training and evaluation told apart
fetch     what the loader's workers do inside `fetch` · batch   samples and tokens by shape
loss, device, flops   what is read later: the loss, the GPU's own times, the operations of one step
spool     the record on disk · peak   a program of its own: the fastest matrix product of this machine
"""
