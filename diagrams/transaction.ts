// Data transaction. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { setup } from "xstate";

type Event = {
  type:
    | "reply_received"
    | "reject_received"
    | "abort_received"
    | "request_cancelled"
    | "primary_written"
    | "connection_ended"
};

export const machine = setup({
  types: { events: {} as Event },
  delays: { t3: 45000 },
  actions: {
    EndTransaction: () => {},
  },
}).createMachine({
  "id": "transaction",
  "description": "Data transaction",
  "initial": "pending",
  "states": {
    "pending": {
      "id": "pending",
      "description": "Pending",
      "initial": "queued",
      "exit": [{"type": "EndTransaction"}],
      "on": {
        "reply_received": [{"target": "#replied"}],
        "reject_received": [{"target": "#rejected"}],
        "abort_received": [{"target": "#aborted"}],
        "connection_ended": [{"target": "#lost"}],
        "request_cancelled": [{"target": "#cancelled"}]
      },
      "states": {
        "queued": {
          "id": "queued",
          "description": "Queued",
          "on": {"primary_written": [{"target": "#open"}]}
        },
        "open": {
          "id": "open",
          "description": "Open",
          "after": {"t3": [{"target": "#timed_out"}]}
        }
      }
    },
    "replied": {"id": "replied", "description": "Replied"},
    "timed_out": {"id": "timed_out", "description": "Timed out"},
    "rejected": {"id": "rejected", "description": "Rejected by the peer"},
    "aborted": {"id": "aborted", "description": "Aborted by the peer"},
    "lost": {"id": "lost", "description": "Lost with the connection"},
    "cancelled": {"id": "cancelled", "description": "Cancelled by the caller"}
  }
});
