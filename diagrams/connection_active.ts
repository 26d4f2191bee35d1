// HSMS connection, the end that dials. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { setup, stateIn } from "xstate";

type Context = Record<"single_use", number>;
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
    | "select_rsp_accepted"
    | "select_rsp_already_active"
    | "select_rsp_refused"
    | "select_rejected"
    | "enable_requested"
    | "disable_requested"
    | "close_requested"
    | "select_requested"
    | "deselect_requested"
    | "permit_granted"
    | "permit_refused"
    | "permit_offered"
    | "permit_withdrawn"
    | "tcp_opened"
    | "tcp_failed"
    | "tcp_closed"
    | "communication_failed"
    | "linktest_failed"
    | "flushed"
};

export const machine = setup({
  types: { context: {} as Context, events: {} as Event },
  delays: { t5: 10000, connect_timeout: 10000, t7: 10000, t6: 5000, linger: 500 },
  guards: {
    "single_use == 1": ({ context }) => (context.single_use == 1),
    "in waiting": stateIn("#waiting"),
    "in resting": stateIn("#resting"),
    "in selecting": stateIn("#selecting"),
    "in disabling": stateIn("#disabling"),
    "in restarting": stateIn("#restarting"),
    "in closing": stateIn("#closing"),
  },
  actions: {
    AbandonTcp: () => {},
    AskBreaker: () => {},
    BeginWatch: () => {},
    CloseGate: () => {},
    CloseTcp: () => {},
    Count: (_, _params: { counter: "reject of nothing we know" | "separate ignored" | "dropped while leaving" }) => {},
    EndTraffic: () => {},
    EndWatch: () => {},
    FinishTcp: () => {},
    OpenGate: () => {},
    OpenTcp: () => {},
    PassProbeAnswer: () => {},
    PassProbeReject: () => {},
    ReportFailure: () => {},
    ReportSuccess: () => {},
    ReturnPermit: () => {},
    Send: (_, _params: { frame: "Select.rsp 0" | "Select.req" | "Reject.req 3" | "Linktest.rsp" | "Reject.req 1" | "Reject.req 2" | "Reject.req 4" | "Deselect.rsp 1" | "Deselect.rsp 0" | "Select.rsp 1" | "Deselect.req" | "Separate.req" }) => {},
  },
}).createMachine({
  "id": "connection_active",
  "description": "HSMS connection, the end that dials",
  "context": {"single_use": 0},
  "initial": "disconnected",
  "states": {
    "disconnected": {
      "id": "disconnected",
      "description": "NOT CONNECTED",
      "initial": "idle",
      "on": {
        "permit_offered": [{}],
        "permit_withdrawn": [{}],
        "close_requested": [{"target": "#closed"}]
      },
      "states": {
        "idle": {
          "id": "idle",
          "description": "Idle",
          "on": {"enable_requested": [{"target": "#asking"}]}
        },
        "asking": {
          "id": "asking",
          "description": "Asking the breaker",
          "entry": [{"type": "AskBreaker"}],
          "on": {
            "permit_granted": [{"target": "#connecting"}],
            "permit_refused": [{"target": "#blocked"}]
          }
        },
        "blocked": {
          "id": "blocked",
          "description": "Blocked by the breaker",
          "on": {
            "permit_offered": [{"target": "#asking"}],
            "disable_requested": [{"target": "#idle"}]
          }
        },
        "separation": {
          "id": "separation",
          "description": "Separation",
          "initial": "waiting",
          "after": {
            "t5": [
              {"target": "#asking", "guard": "in waiting"},
              {"target": "#idle", "guard": "in resting"}
            ]
          },
          "states": {
            "waiting": {
              "id": "waiting",
              "description": "Waiting to retry",
              "always": [{"target": "#closed", "guard": "single_use == 1"}],
              "on": {"disable_requested": [{"target": "#resting"}]}
            },
            "resting": {
              "id": "resting",
              "description": "Disabled, T5 not over",
              "on": {"enable_requested": [{"target": "#waiting"}]}
            }
          }
        }
      }
    },
    "connecting": {
      "id": "connecting",
      "description": "Connecting",
      "entry": [{"type": "OpenTcp"}],
      "after": {
        "connect_timeout": [
          {
            "target": "#waiting",
            "actions": [{"type": "AbandonTcp"}, {"type": "ReportFailure"}]
          }
        ]
      },
      "on": {
        "tcp_opened": [
          {
            "target": "#selecting",
            "actions": [{"type": "Send", "params": {"frame": "Select.req"}}]
          }
        ],
        "tcp_failed": [{"target": "#waiting", "actions": [{"type": "ReportFailure"}]}],
        "disable_requested": [
          {
            "target": "#resting",
            "actions": [{"type": "AbandonTcp"}, {"type": "ReturnPermit"}]
          }
        ],
        "close_requested": [
          {
            "target": "#closed",
            "actions": [{"type": "AbandonTcp"}, {"type": "ReturnPermit"}]
          }
        ],
        "permit_withdrawn": [{"target": "#waiting", "actions": [{"type": "AbandonTcp"}]}],
        "permit_offered": [{}]
      }
    },
    "connected": {
      "id": "connected",
      "description": "CONNECTED",
      "initial": "not_selected",
      "exit": [{"type": "EndTraffic"}, {"type": "CloseTcp"}],
      "on": {"permit_offered": [{}], "permit_withdrawn": [{}]},
      "states": {
        "not_selected": {
          "id": "not_selected",
          "description": "NOT SELECTED",
          "initial": "selecting",
          "after": {
            "t7": [
              {
                "target": "#waiting",
                "guard": "in selecting",
                "actions": [{"type": "ReportFailure"}]
              },
              {"target": "#waiting"}
            ]
          },
          "on": {
            "select_rsp_accepted": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "select_rsp_already_active": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "select_rsp_refused": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "select_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
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
            "tcp_closed": [{"target": "#waiting"}],
            "communication_failed": [{"target": "#waiting"}],
            "disable_requested": [{"target": "#resting"}],
            "close_requested": [{"target": "#closed"}]
          },
          "states": {
            "selecting": {
              "id": "selecting",
              "description": "Selecting",
              "after": {
                "t6": [{"target": "#waiting", "actions": [{"type": "ReportFailure"}]}]
              },
              "on": {
                "select_rsp_accepted": [
                  {"target": "#communicating", "actions": [{"type": "ReportSuccess"}]}
                ],
                "select_req_received": [
                  {
                    "target": "#select_unanswered",
                    "actions": [{"type": "ReportSuccess"}]
                  }
                ],
                "select_rsp_already_active": [
                  {"target": "#waiting", "actions": [{"type": "ReportFailure"}]}
                ],
                "select_rsp_refused": [
                  {"target": "#waiting", "actions": [{"type": "ReportFailure"}]}
                ],
                "select_rejected": [
                  {"target": "#waiting", "actions": [{"type": "ReportFailure"}]}
                ],
                "tcp_closed": [
                  {"target": "#waiting", "actions": [{"type": "ReportFailure"}]}
                ],
                "communication_failed": [
                  {"target": "#waiting", "actions": [{"type": "ReportFailure"}]}
                ],
                "permit_withdrawn": [{"target": "#waiting"}],
                "disable_requested": [
                  {"target": "#resting", "actions": [{"type": "ReturnPermit"}]}
                ],
                "close_requested": [
                  {"target": "#closed", "actions": [{"type": "ReturnPermit"}]}
                ]
              }
            },
            "unselected": {
              "id": "unselected",
              "description": "Unselected",
              "on": {
                "select_requested": [
                  {
                    "target": "#reselecting",
                    "actions": [{"type": "Send", "params": {"frame": "Select.req"}}]
                  }
                ]
              }
            },
            "reselecting": {
              "id": "reselecting",
              "description": "Reselecting",
              "after": {"t6": [{"target": "#waiting"}]},
              "on": {
                "select_rsp_accepted": [{"target": "#communicating"}],
                "select_req_received": [{"target": "#select_unanswered"}],
                "select_rsp_already_active": [{"target": "#waiting"}],
                "select_rsp_refused": [{"target": "#waiting"}],
                "select_rejected": [{"target": "#waiting"}]
              }
            },
            "deselect_unanswered": {
              "id": "deselect_unanswered",
              "description": "Deselect unanswered",
              "after": {"t6": [{"target": "#waiting"}]},
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
            "select_rsp_accepted": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "select_rsp_already_active": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "select_rsp_refused": [
              {"actions": [{"type": "Send", "params": {"frame": "Reject.req 3"}}]}
            ],
            "select_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "reject of nothing we know"}}
                ]
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
            "separate_req_received": [{"target": "#waiting"}],
            "linktest_failed": [{"target": "#waiting"}],
            "tcp_closed": [{"target": "#waiting"}],
            "communication_failed": [{"target": "#waiting"}],
            "disable_requested": [
              {
                "target": "#disabling",
                "actions": [{"type": "Send", "params": {"frame": "Separate.req"}}]
              }
            ],
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
            "select_unanswered": {
              "id": "select_unanswered",
              "description": "Select unanswered",
              "entry": [{"type": "Send", "params": {"frame": "Select.rsp 0"}}],
              "after": {"t6": [{"target": "#waiting"}]},
              "on": {
                "select_rsp_accepted": [{"target": "#communicating"}],
                "select_rsp_already_active": [{"target": "#communicating"}],
                "select_rsp_refused": [{"target": "#waiting"}],
                "select_rejected": [{"target": "#waiting"}],
                "deselect_req_received": [
                  {
                    "target": "#reselecting",
                    "actions": [{"type": "Send", "params": {"frame": "Deselect.rsp 0"}}]
                  }
                ]
              }
            },
            "deselecting": {
              "id": "deselecting",
              "description": "Deselecting",
              "after": {"t6": [{"target": "#waiting"}]},
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
          "initial": "disabling",
          "after": {
            "linger": [
              {"target": "#resting", "guard": "in disabling"},
              {"target": "#waiting", "guard": "in restarting"},
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
            "select_rsp_accepted": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "select_rsp_already_active": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "select_rsp_refused": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "select_rejected": [
              {
                "actions": [
                  {"type": "Count", "params": {"counter": "dropped while leaving"}}
                ]
              }
            ],
            "flushed": [{"actions": [{"type": "FinishTcp"}]}]
          },
          "states": {
            "disabling": {
              "id": "disabling",
              "description": "Disabling",
              "on": {
                "tcp_closed": [{"target": "#resting"}],
                "communication_failed": [{"target": "#resting"}],
                "enable_requested": [{"target": "#restarting"}],
                "close_requested": [{"target": "#closing"}]
              }
            },
            "restarting": {
              "id": "restarting",
              "description": "Restarting",
              "on": {
                "tcp_closed": [{"target": "#waiting"}],
                "communication_failed": [{"target": "#waiting"}],
                "disable_requested": [{"target": "#disabling"}],
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
    "closed": {
      "id": "closed",
      "description": "Closed",
      "on": {"permit_offered": [{}], "permit_withdrawn": [{}]}
    }
  }
});
