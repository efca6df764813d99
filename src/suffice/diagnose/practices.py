"""The practices of the guidance that a finding names: id and words, as docs/guidance.md lists them."""

from __future__ import annotations

LOADER_PROCESSES = "HPC, ladder: use more loader processes before larger hardware"
STORE_TO_FIT = "HPC, ladder: where I/O limits, choose the store by the rate that is needed, and move data only for that"
LESS_PREPARATION = "HPC, ladder: where preparing data limits, prepare it once, before training, or do less of it"
CACHED_DATA = "PERF03-BP05: keep in a cache what is read again and again"
TRANSFERS = "HPC, loader rules: load, copy and train at the same time, never one after the other"
COSTLY_CODE = "SUS03-BP03: mend the parts of the program that take most of the time"
ACCELERATORS = "SUS05-BP04: use accelerators well, and only where they are needed"
COMPUTE_TO_FIT = "PERF02-BP04: configure compute to fit the work"
PRECISION = "HPC, distributed training: use a lower precision where the result allows it"
MEMORY = "HPC, memory limit: less memory by checkpointing of gradients, lower precision or smaller batches"
NO_MORE_THAN_NEEDED = "ODL, model building: meet the criteria that were set, and do not exceed them"
EVEN_RANKS = "HPC, distributed training: give every rank the same work, on machines close to each other"
