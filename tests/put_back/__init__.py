"""Twelve faults that the engine once had, put back one at a time: which machine finds each?

A fault is a few replacements of text, made in a copy of the tree, so that child processes have it
too. A text that is not there exactly once is an error: then the fault must be written anew.
"""
