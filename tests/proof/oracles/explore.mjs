// Walks every reachable (snapshot, event) of each machine with the real xstate package.
//
// Reads an array of machines on standard input: { config, guards, inner, events }, where
// `guards` are expressions over `context`, `inner` are guards on active states, and `events` lists
// for every event of the chart what xstate calls it: { type, state? }, of which the first whose
// state is active is sent. Writes one array of rows per machine: { from, event, to, actions };
// `event` null is the start, `to` null is a refusal.

import { readFileSync } from "node:fs";
import { and, assign, createMachine, initialTransition, stateIn, transition } from "xstate";

const predicate = (text) => {
  const evaluate = new Function("context", `return ${text};`);
  return ({ context }) => evaluate(context);
};

const implementations = ({ guards, inner }) => ({
  guards: {
    ...Object.fromEntries(Object.entries(guards).map(([name, text]) => [name, predicate(text)])),
    ...Object.fromEntries(
      Object.entries(inner).map(([name, [state, text]]) => [
        name,
        text ? and([stateIn(`#${state}`), predicate(text)]) : stateIn(`#${state}`),
      ]),
    ),
  },
  actions: {
    set: assign((_, { variable, value }) => ({ [variable]: value })),
    increment: assign(({ context }, { variable, highest }) => ({
      [variable]: Math.min(context[variable] + 1, context[highest] ?? highest),
    })),
  },
});

const active = (value) =>
  typeof value === "string"
    ? [value]
    : Object.entries(value).flatMap(([id, below]) => [id, ...active(below)]);

const seen = (snapshot) => ({ states: active(snapshot.value), context: snapshot.context });

const plain = (actions) =>
  actions.map(({ type, params }) => {
    if (type === "xstate.raise") return { type: "start", params: `${params.delay} ${params.id}` };
    if (type === "xstate.cancel") return { type: "stop", params: params.sendId };
    return params === undefined ? { type } : { type, params };
  });

const explore = (given) => {
  const machine = createMachine(given.config).provide(implementations(given));
  const [first, started] = initialTransition(machine);
  const rows = [{ from: null, event: null, to: seen(first), actions: plain(started) }];
  const known = new Set([JSON.stringify(seen(first))]);
  const queue = [first];
  for (const snapshot of queue) {
    const from = seen(snapshot);
    for (const [event, names] of Object.entries(given.events)) {
      const type = names.find(({ state }) => !state || from.states.includes(state))?.type;
      if (type === undefined || machine.getTransitionData(snapshot, { type }).length === 0) {
        rows.push({ from, event, to: null, actions: [] });
        continue;
      }
      const [after, actions] = transition(machine, snapshot, { type });
      if (after.status !== "active") throw after.error ?? new Error(`${event}: ${after.status}`);
      const to = seen(after);
      rows.push({ from, event, to, actions: plain(actions) });
      const key = JSON.stringify(to);
      if (!known.has(key)) {
        known.add(key);
        queue.push(after);
      }
    }
  }
  return rows;
};

const machines = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(machines.map(explore)));
