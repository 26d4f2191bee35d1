"""Programs that each run one other engine, as a process of its own.

They read commands and write answers, one a line: ``NUMBER COMMAND WORDS`` and ``NUMBER ok WORDS``
or ``NUMBER failed WHY``. Commands run side by side.

* ``start active|passive PORT``: a fresh end, on 127.0.0.1. A passive one may listen a moment later.
* ``selected``, ``gone``: wait until the engine itself says that it is.
* ``ask STREAM FUNCTION BODY``: send a primary with W; the answer has the same words of its reply.
  Bodies are hexadecimal; each goes through the engine's own items, ``-`` is none.
* ``linktest``, ``select``, ``deselect``: send the request and wait for the response.
* ``separate``: end the connection as this engine does, and make no other.

By itself an end answers S1F1, S1F13 and S2F41, and gives S2F25 back as S2F26.
"""
