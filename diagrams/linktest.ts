// Linktest. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { assign, setup } from "xstate";

type Variable = "misses";
type Context = Record<"misses" | "linktest_threshold", number>;
type Event = {
  type:
    | "linktest_requested"
    | "watch_began"
    | "watch_ended"
    | "probe_answered"
    | "probe_rejected"
    | "t6_linktest_excused"
    | "traffic_seen"
    | "linktest_reconfigured"
};

export const machine = setup({
  types: { context: {} as Context, events: {} as Event },
  delays: { linktest_interval: 30000, t6_linktest: 5000 },
  guards: {
    "misses >= linktest_threshold": ({ context }) => (context.misses >= context.linktest_threshold),
  },
  actions: {
    Count: (_, _params: { counter: "reject of nothing we know" }) => {},
    FailLinktest: () => {},
    Send: (_, _params: { frame: "Linktest.req" | "Reject.req 3" }) => {},
    set: assign((_, params: { variable: Variable; value: number }) => ({
      [params.variable]: params.value,
    })),
    increment: assign(({ context }, params: { variable: Variable }) => ({
      [params.variable]: context[params.variable] + 1,
    })),
  },
}).createMachine({
  "id": "linktest",
  "description": "Linktest",
  "context": {"misses": 0, "linktest_threshold": 1},
  "initial": "unwatched",
  "states": {
    "unwatched": {
      "id": "unwatched",
      "description": "Off",
      "on": {
        "watch_began": [
          {
            "target": "#quiet",
            "actions": [{"type": "set", "params": {"variable": "misses", "value": 0}}]
          }
        ],
        "linktest_reconfigured": [{}]
      }
    },
    "watching": {
      "id": "watching",
      "description": "Watching",
      "initial": "quiet",
      "on": {"watch_ended": [{"target": "#unwatched"}], "linktest_reconfigured": [{}]},
      "states": {
        "quiet": {
          "id": "quiet",
          "description": "Quiet",
          "after": {
            "linktest_interval": [
              {
                "target": "#probing_link",
                "actions": [{"type": "Send", "params": {"frame": "Linktest.req"}}]
              }
            ]
          },
          "always": [
            {
              "target": "#silent",
              "guard": "misses >= linktest_threshold",
              "actions": [{"type": "FailLinktest"}]
            }
          ],
          "on": {
            "linktest_requested": [
              {
                "target": "#probing_link",
                "actions": [{"type": "Send", "params": {"frame": "Linktest.req"}}]
              }
            ],
            "traffic_seen": [
              {
                "actions": [
                  {"type": "set", "params": {"variable": "misses", "value": 0}}
                ]
              }
            ],
            "probe_answered": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "probe_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
              }
            ]
          }
        },
        "probing_link": {
          "id": "probing_link",
          "description": "Probing",
          "after": {
            "t6_linktest": [
              {
                "target": "#quiet",
                "actions": [{"type": "increment", "params": {"variable": "misses"}}]
              }
            ]
          },
          "on": {
            "linktest_requested": [{}],
            "probe_answered": [
              {
                "target": "#quiet",
                "actions": [
                  {"type": "set", "params": {"variable": "misses", "value": 0}}
                ]
              }
            ],
            "probe_rejected": [
              {
                "target": "#quiet",
                "actions": [
                  {"type": "set", "params": {"variable": "misses", "value": 0}}
                ]
              }
            ],
            "t6_linktest_excused": [
              {
                "target": "#quiet",
                "actions": [
                  {"type": "set", "params": {"variable": "misses", "value": 0}}
                ]
              }
            ]
          }
        },
        "silent": {"id": "silent", "description": "Silent"}
      }
    }
  }
});
