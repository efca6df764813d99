"""Ways to make a form of a model out of another one, a technique a file.

`AFTER` names the technique whose form it starts from, None for the user's own model; with `OF_BEST` it is the backend
whose best form so far it starts from. `propose` says with which settings it is worth building, or why not; `gain` is
the most that it can be faster than where it starts, or, with `THAN_EXACT`, than the quickest exact form so far.
`BUILD_S`: seconds without which no build is begun. `build` runs in a worker: it writes the files of the new form into
a folder and returns its `Form`; what it needs is imported there.

Of a technique in `structure`, `FORMS` names the techniques that are tried of what it made, if not all, and `SPARED_BY`
those whose forms of the original make it needless.
"""
