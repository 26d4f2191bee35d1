// Circuit breaker. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { assign, setup } from "xstate";

type Variable = "failures";
type Context = Record<"failures" | "threshold", number>;
type Event = {
  type:
    | "isolate_requested"
    | "release_requested"
    | "reset_requested"
    | "permit_requested"
    | "attempt_succeeded"
    | "attempt_failed"
    | "attempt_cancelled"
    | "stale_result_reported"
    | "reconfigured"
};

export const machine = setup({
  types: { context: {} as Context, events: {} as Event },
  delays: { open_time: 60000 },
  guards: {
    "failures >= threshold": ({ context }) => (context.failures >= context.threshold),
  },
  actions: {
    Count: (_, _params: { counter: "result of an earlier period" }) => {},
    GrantPermit: () => {},
    OfferPermit: () => {},
    RefusePermit: () => {},
    WithdrawPermit: () => {},
    set: assign((_, params: { variable: Variable; value: number }) => ({
      [params.variable]: params.value,
    })),
    increment: assign(({ context }, params: { variable: Variable }) => ({
      [params.variable]: context[params.variable] + 1,
    })),
  },
}).createMachine({
  "id": "breaker",
  "description": "Circuit breaker",
  "context": {"failures": 0, "threshold": 5},
  "initial": "breaker_closed",
  "states": {
    "breaker_closed": {
      "id": "breaker_closed",
      "description": "Closed",
      "always": [
        {
          "target": "#breaker_open",
          "guard": "failures >= threshold",
          "actions": [{"type": "WithdrawPermit"}]
        }
      ],
      "on": {
        "permit_requested": [{"actions": [{"type": "GrantPermit"}]}],
        "attempt_succeeded": [
          {"actions": [{"type": "set", "params": {"variable": "failures", "value": 0}}]}
        ],
        "attempt_failed": [
          {"actions": [{"type": "increment", "params": {"variable": "failures"}}]}
        ],
        "attempt_cancelled": [{}],
        "reset_requested": [
          {"actions": [{"type": "set", "params": {"variable": "failures", "value": 0}}]}
        ],
        "isolate_requested": [
          {"target": "#isolated", "actions": [{"type": "WithdrawPermit"}]}
        ],
        "stale_result_reported": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "reconfigured": [{}]
      }
    },
    "breaker_open": {
      "id": "breaker_open",
      "description": "Open",
      "after": {
        "open_time": [{"target": "#ready", "actions": [{"type": "OfferPermit"}]}]
      },
      "on": {
        "permit_requested": [{"actions": [{"type": "RefusePermit"}]}],
        "isolate_requested": [{"target": "#isolated"}],
        "reset_requested": [
          {
            "target": "#breaker_closed",
            "actions": [
              {"type": "set", "params": {"variable": "failures", "value": 0}},
              {"type": "OfferPermit"}
            ]
          }
        ],
        "attempt_succeeded": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "attempt_failed": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "attempt_cancelled": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "stale_result_reported": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "reconfigured": [{}]
      }
    },
    "half_open": {
      "id": "half_open",
      "description": "Half-open",
      "initial": "ready",
      "on": {
        "isolate_requested": [
          {"target": "#isolated", "actions": [{"type": "WithdrawPermit"}]}
        ],
        "reset_requested": [
          {
            "target": "#breaker_closed",
            "actions": [
              {"type": "WithdrawPermit"},
              {"type": "set", "params": {"variable": "failures", "value": 0}},
              {"type": "OfferPermit"}
            ]
          }
        ],
        "stale_result_reported": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "reconfigured": [{}]
      },
      "states": {
        "ready": {
          "id": "ready",
          "description": "Ready",
          "on": {
            "permit_requested": [
              {"target": "#probing", "actions": [{"type": "GrantPermit"}]}
            ],
            "attempt_succeeded": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "result of an earlier period"}}
                ]
              }
            ],
            "attempt_failed": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "result of an earlier period"}}
                ]
              }
            ],
            "attempt_cancelled": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "result of an earlier period"}}
                ]
              }
            ]
          }
        },
        "probing": {
          "id": "probing",
          "description": "Probing",
          "on": {
            "permit_requested": [{"actions": [{"type": "RefusePermit"}]}],
            "attempt_succeeded": [
              {
                "target": "#breaker_closed",
                "actions": [
                  {"type": "set", "params": {"variable": "failures", "value": 0}},
                  {"type": "OfferPermit"}
                ]
              }
            ],
            "attempt_failed": [{"target": "#breaker_open"}],
            "attempt_cancelled": [
              {"target": "#ready", "actions": [{"type": "OfferPermit"}]}
            ]
          }
        }
      }
    },
    "isolated": {
      "id": "isolated",
      "description": "Isolated",
      "on": {
        "permit_requested": [{"actions": [{"type": "RefusePermit"}]}],
        "isolate_requested": [{}],
        "release_requested": [
          {
            "target": "#breaker_closed",
            "actions": [
              {"type": "set", "params": {"variable": "failures", "value": 0}},
              {"type": "OfferPermit"}
            ]
          }
        ],
        "reset_requested": [
          {
            "target": "#breaker_closed",
            "actions": [
              {"type": "set", "params": {"variable": "failures", "value": 0}},
              {"type": "OfferPermit"}
            ]
          }
        ],
        "attempt_succeeded": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "attempt_failed": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "attempt_cancelled": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "stale_result_reported": [
          {
            "actions": [
              {"type": "Count", "params": {"counter": "result of an earlier period"}}
            ]
          }
        ],
        "reconfigured": [{}]
      }
    }
  }
});
