"""What the doors ``blocking`` and ``aio`` share: one trio thread, and calls into it.

A door is the trio API for callers that are not trio tasks. It decides nothing: each of its calls
runs the call of the same name in the trio thread (``thread``) and waits for its result (``call``).
An ``async with`` block of the trio API is held open there by a task (``hold``).
"""
