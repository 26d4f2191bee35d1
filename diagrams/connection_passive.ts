// HSMS connection, the end that listens. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { setup, stateIn } from "xstate";

type Event = {
  type:
    | "select_req_received"
    | "deselect_req_received"
    | "deselect_rsp_ended"
    | "deselect_rsp_busy"
    | "deselect_rejected"
    | "linktest_req_received"
    | "linktest_rsp_received"
    | "linktest_rejected"
    | "separate_req_received"
    | "unknown_reject_received"
    | "unexpected_rsp_received"
    | "unsupported_stype_received"
    | "unsupported_ptype_received"
    | "control_with_body_received"
    | "data_received"
    | "competing_select_req_received"
    | "close_requested"
    | "deselect_requested"
    | "tcp_accepted"
    | "tcp_closed"
    | "communication_failed"
    | "linktest_failed"
    | "flushed"
};

export const machine = setup({
  types: { events: {} as Event },
  delays: { t7: 10000, t6: 5000, linger: 500 },
  guards: {
    "in refusing": stateIn("#refusing"),
    "in closing": stateIn("#closing"),
  },
  actions: {
    BeginWatch: () => {},
    CloseGate: () => {},
    CloseTcp: () => {},
    Count: (_, _params: { counter: "reject of nothing we know" | "separate ignored" | "dropped while leaving" }) => {},
    EndTraffic: () => {},
    EndWatch: () => {},
    FinishTcp: () => {},
    OpenGate: () => {},
    PassProbeAnswer: () => {},
    PassProbeReject: () => {},
    Send: (_, _params: { frame: "Select.rsp 0" | "Select.rsp 3" | "Linktest.rsp" | "Reject.req 3" | "Reject.req 1" | "Reject.req 2" | "Reject.req 4" | "Deselect.rsp 1" | "Select.rsp 1" | "Deselect.rsp 0" | "Deselect.req" | "Separate.req" }) => {},
  },
}).createMachine({
  "id": "connection_passive",
  "description": "HSMS connection, the end that listens",
  "initial": "disconnected",
  "states": {
    "disconnected": {
      "id": "disconnected",
      "description": "NOT CONNECTED",
      "initial": "listening",
      "on": {"close_requested": [{"target": "#closed"}]},
      "states": {
        "listening": {
          "id": "listening",
          "description": "Listening",
          "on": {"tcp_accepted": [{"target": "#unselected"}]}
        }
      }
    },
    "connected": {
      "id": "connected",
      "description": "CONNECTED",
      "initial": "not_selected",
      "exit": [{"type": "EndTraffic"}, {"type": "CloseTcp"}],
      "states": {
        "not_selected": {
          "id": "not_selected",
          "description": "NOT SELECTED",
          "initial": "unselected",
          "after": {"t7": [{"target": "#listening"}]},
          "on": {
            "competing_select_req_received": [
              {
                "target": "#refusing",
                "actions": [{"type": "Send", "params": {"frame": "Select.rsp 3"}}]
              }
            ],
            "linktest_req_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Linktest.rsp"}}]}
            ],
            "unexpected_rsp_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "unsupported_stype_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 1"}}]}
            ],
            "control_with_body_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 1"}}]}
            ],
            "unsupported_ptype_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 2"}}]}
            ],
            "unknown_reject_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
              }
            ],
            "data_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 4"}}]}
            ],
            "deselect_req_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Deselect.rsp 1"}}]}
            ],
            "separate_req_received": [
              {"actions": [{"type": "Count", "params": {"counter": "separate ignored"}}]}
            ],
            "linktest_rsp_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "linktest_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
              }
            ],
            "deselect_rsp_ended": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "deselect_rsp_busy": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "deselect_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
              }
            ],
            "select_req_received": [{"target": "#accepting"}],
            "tcp_closed": [{"target": "#listening"}],
            "communication_failed": [{"target": "#listening"}],
            "close_requested": [{"target": "#closed"}]
          },
          "states": {
            "unselected": {"id": "unselected", "description": "Unselected"},
            "deselect_unanswered": {
              "id": "deselect_unanswered",
              "description": "Deselect unanswered",
              "after": {"t6": [{"target": "#listening"}]},
              "on": {
                "deselect_rsp_ended": [{"target": "#unselected"}],
                "deselect_rsp_busy": [{"target": "#unselected"}],
                "deselect_rejected": [{"target": "#unselected"}]
              }
            }
          }
        },
        "selected": {
          "id": "selected",
          "description": "SELECTED",
          "initial": "communicating",
          "entry": [{"type": "OpenGate"}, {"type": "BeginWatch"}],
          "exit": [{"type": "EndWatch"}, {"type": "CloseGate"}],
          "on": {
            "competing_select_req_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Select.rsp 1"}}]}
            ],
            "linktest_req_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Linktest.rsp"}}]}
            ],
            "unexpected_rsp_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "unsupported_stype_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 1"}}]}
            ],
            "control_with_body_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 1"}}]}
            ],
            "unsupported_ptype_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 2"}}]}
            ],
            "unknown_reject_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
              }
            ],
            "select_req_received": [
              {"actions": [{"type": "Send", "params": {"frame": "Select.rsp 1"}}]}
            ],
            "linktest_rsp_received": [{"actions": [{"type": "PassProbeAnswer"}]}],
            "linktest_rejected": [{"actions": [{"type": "PassProbeReject"}]}],
            "deselect_rsp_ended": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "deselect_rsp_busy": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "deselect_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
              }
            ],
            "deselect_req_received": [
              {
                "target": "#unselected",
                "actions": [{"type": "Send", "params": {"frame": "Deselect.rsp 0"}}]
              }
            ],
            "separate_req_received": [{"target": "#listening"}],
            "linktest_failed": [{"target": "#listening"}],
            "tcp_closed": [{"target": "#listening"}],
            "communication_failed": [{"target": "#listening"}],
            "close_requested": [
              {
                "target": "#closing",
                "actions": [{"type": "Send", "params": {"frame": "Separate.req"}}]
              }
            ]
          },
          "states": {
            "communicating": {
              "id": "communicating",
              "description": "Communicating",
              "on": {
                "deselect_requested": [
                  {
                    "target": "#deselecting",
                    "actions": [{"type": "Send", "params": {"frame": "Deselect.req"}}]
                  }
                ]
              }
            },
            "accepting": {
              "id": "accepting",
              "description": "Accepting",
              "entry": [{"type": "Send", "params": {"frame": "Select.rsp 0"}}],
              "always": [{"target": "#communicating"}]
            },
            "deselecting": {
              "id": "deselecting",
              "description": "Deselecting",
              "after": {"t6": [{"target": "#listening"}]},
              "on": {
                "deselect_req_received": [
                  {
                    "target": "#deselect_unanswered",
                    "actions": [{"type": "Send", "params": {"frame": "Deselect.rsp 0"}}]
                  }
                ],
                "deselect_rsp_ended": [{"target": "#unselected"}],
                "deselect_rsp_busy": [{"target": "#communicating"}],
                "deselect_rejected": [{"target": "#communicating"}]
              }
            }
          }
        },
        "leaving": {
          "id": "leaving",
          "description": "Leaving",
          "initial": "refusing",
          "after": {
            "linger": [
              {"target": "#listening", "guard": "in refusing"},
              {"target": "#closed", "guard": "in closing"}
            ]
          },
          "on": {
            "select_req_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "deselect_req_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "deselect_rsp_ended": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "deselect_rsp_busy": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "deselect_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "linktest_req_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "linktest_rsp_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "linktest_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "separate_req_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "unknown_reject_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "unexpected_rsp_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "unsupported_stype_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "unsupported_ptype_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "control_with_body_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "data_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "competing_select_req_received": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "flushed": [{"actions": [{"type": "FinishTcp"}]}]
          },
          "states": {
            "refusing": {
              "id": "refusing",
              "description": "Refusing",
              "on": {
                "tcp_closed": [{"target": "#listening"}],
                "communication_failed": [{"target": "#listening"}],
                "close_requested": [{"target": "#closing"}]
              }
            },
            "closing": {
              "id": "closing",
              "description": "Closing",
              "on": {
                "tcp_closed": [{"target": "#closed"}],
                "communication_failed": [{"target": "#closed"}]
              }
            }
          }
        }
      }
    },
    "closed": {"id": "closed", "description": "Closed"}
  }
});
