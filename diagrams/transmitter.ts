// Transmitter of frames. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { setup } from "xstate";

type Event = {
  type:
    | "write_blocked"
    | "write_progressed"
    | "write_drained"
    | "transmitting_ended"
};

export const machine = setup({
  types: { events: {} as Event },
  delays: { write_timeout: 30000 },
  actions: {
    FailWriting: () => {},
  },
}).createMachine({
  "id": "transmitter",
  "description": "Transmitter of frames",
  "initial": "drained",
  "states": {
    "drained": {
      "id": "drained",
      "description": "Drained",
      "on": {"write_blocked": [{"target": "#backlogged"}], "transmitting_ended": [{}]}
    },
    "backlogged": {
      "id": "backlogged",
      "description": "Backlogged",
      "after": {
        "write_timeout": [{"target": "#stalled", "actions": [{"type": "FailWriting"}]}]
      },
      "on": {
        "write_progressed": [{"target": "#backlogged", "reenter": true}],
        "write_drained": [{"target": "#drained"}],
        "transmitting_ended": [{"target": "#drained"}]
      }
    },
    "stalled": {
      "id": "stalled",
      "description": "Stalled",
      "on": {"transmitting_ended": [{"target": "#drained"}]}
    }
  }
});
