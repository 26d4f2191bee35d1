"""Charts in the languages of other programs.

``xstate`` writes a chart for XState v5 and Stately's tools, ``promela`` a chart or a system for
Spin. Others wrote these programs, so they are an independent opinion about the same declaration.
"""

from .promela import to_promela
from .xstate import machine_config, to_json

__all__ = ["machine_config", "to_promela", "to_json"]
