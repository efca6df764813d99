"""Lines of JSON that name functions of ours -> their results: what runs inside the process of a `Worker`."""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from importlib import import_module
from typing import Any

LAST_FRAMES = 3


def serve(connection: socket.socket) -> None:
    """Call what is asked for until nobody asks any more."""
    kept: dict[str, Any] = {}
    with connection, connection.makefile("r") as orders:
        for line in orders:
            connection.sendall(json.dumps(answer(json.loads(line), kept)).encode() + b"\n")


def answer(order: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """The result of one call, or its error with the place it came from."""
    module, _, name = order["call"].partition(":")
    if module.partition(".")[0] != "suffice":
        return {"error": f"{module} is none of ours"}
    try:
        function = getattr(import_module(module), name)
        return {"result": function(kept, *order["args"], **order["kwargs"])}
    except BaseException as error:  # noqa: BLE001 - a model's code may raise anything, also SystemExit
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__, limit=-LAST_FRAMES)
        place = f" (at {os.path.basename(where[-1].filename)}:{where[-1].lineno})" if where else ""  # noqa: PTH119
        text = " ".join(str(error).split())
        return {"error": f"{type(error).__name__}: {text[:600]}{place}", "hint": getattr(error, "hint", None)}


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
