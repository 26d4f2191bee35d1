"""A chart as a TypeScript module that builds its XState v5 machine, with closed types.

Events, effects, their parameters and the variables are unions of exactly what the chart has, so
`tsc --strict` accepts the module and refuses a misspelt event in whatever uses it.
"""

from __future__ import annotations

import json

from statecharts.declare import Chart, Effect

from .xstate import (
    action_object,
    compact,
    context,
    guards,
    inner_guards,
    machine_config,
    milliseconds,
)

_HEADER = """\
// {title}. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({{ actions }})`.
"""


def _union(values: list[str]) -> str:
    return " | ".join(json.dumps(value) for value in values)


def _effects(chart: Chart) -> dict[str, dict[str, str]]:
    """Effect types, and the TypeScript type of each of their parameters."""
    found: dict[str, dict[str, list[str]]] = {}
    lists = [(*state.enter, *state.exit) for state in chart.walk()]
    for actions in (*lists, *(on.do for on in chart.transitions)):
        for action in actions:
            if isinstance(action, Effect):
                made = action_object(action)
                params = found.setdefault(made["type"], {})
                for name, value in made.get("params", {}).items():
                    values = params.setdefault(name, [])
                    if (text := json.dumps(value)) not in values:
                        values.append(text)
    return {
        kind: {name: " | ".join(values) for name, values in params.items()}
        for kind, params in sorted(found.items())
    }


def _setup(chart: Chart) -> list[str]:
    lines = []
    if chart.timers:
        delays = ", ".join(f"{timer.id}: {milliseconds(timer)}" for timer in chart.timers)
        lines.append(f"  delays: {{ {delays} }},")
    inner = inner_guards(chart)
    if plain := guards(chart) | dict.fromkeys(inner, ""):
        lines.append("  guards: {")
        for name, text in plain.items():
            body = f"({{ context }}) => {text}"
            if name in inner:
                state, further = inner[name]
                body = f'stateIn("#{state}")'
                if further:
                    body = f"and([{body}, ({{ context }}) => {further}])"
            lines.append(f"    {json.dumps(name)}: {body},")
        lines.append("  },")
    lines.append("  actions: {")
    for kind, params in _effects(chart).items():
        shape = ", ".join(f"{name}: {values}" for name, values in params.items())
        arguments = f"_, _params: {{ {shape} }}" if shape else ""
        lines.append(f"    {kind}: ({arguments}) => {{}},")
    if chart.variables:
        lines += [
            "    set: assign((_, params: { variable: Variable; value: number }) => ({",
            "      [params.variable]: params.value,",
            "    })),",
            "    increment: assign(({ context }, params: { variable: Variable }) => ({",
            "      [params.variable]: context[params.variable] + 1,",
            "    })),",
        ]
    lines.append("  },")
    return lines


def to_typescript(chart: Chart) -> str:
    """A TypeScript module that exports the machine, timers as named delays, types closed."""
    config = machine_config(chart, "after", named_delays=True)
    variables, names = [each.name for each in chart.variables], list(context(chart))
    uses = [
        "setup",
        *(["assign"] if chart.variables else []),
        *(["stateIn"] if inner_guards(chart) else []),
        *(["and"] if any(further for _, further in inner_guards(chart).values()) else []),
    ]
    expiries = {timer.expired for timer in chart.timers}
    events = [event for event in chart.events if event not in expiries]
    text = [
        _HEADER.format(title=chart.title),
        f'import {{ {", ".join(sorted(uses))} }} from "xstate";\n',
        *([f"type Variable = {_union(variables)};"] if variables else []),
        *([f"type Context = Record<{_union(names)}, number>;"] if names else []),
        "type Event = {\n  type:",
        *(f"    | {json.dumps(event)}" for event in events),
        "};\n",
        "export const machine = setup({",
        f"  types: {{ {'context: {} as Context, ' if names else ''}events: {{}} as Event }},",
        *_setup(chart),
        f"}}).createMachine({compact(config)});",
    ]
    return "\n".join(text) + "\n"
