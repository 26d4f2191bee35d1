// Receiver of frames. Generated from the declared chart by `python -m statecharts.draw`; do not edit.
// Effects are actions that do nothing here: give them a body with `machine.provide({ actions })`.

import { setup } from "xstate";

type Event = {
  type:
    | "frame_began"
    | "frame_progressed"
    | "frame_completed"
    | "receiving_ended"
};

export const machine = setup({
  types: { events: {} as Event },
  delays: { frame_deadline: 60000, t8: 5000 },
  actions: {
    FailFraming: () => {},
  },
}).createMachine({
  "id": "receiver",
  "description": "Receiver of frames",
  "initial": "between_frames",
  "states": {
    "between_frames": {
      "id": "between_frames",
      "description": "Between frames",
      "on": {"frame_began": [{"target": "#in_frame"}], "receiving_ended": [{}]}
    },
    "in_frame": {
      "id": "in_frame",
      "description": "In a frame",
      "initial": "receiving",
      "after": {
        "frame_deadline": [
          {"target": "#broken_off", "actions": [{"type": "FailFraming"}]}
        ]
      },
      "on": {
        "frame_completed": [{"target": "#between_frames"}],
        "receiving_ended": [{"target": "#between_frames"}]
      },
      "states": {
        "receiving": {
          "id": "receiving",
          "description": "Receiving",
          "after": {
            "t8": [{"target": "#broken_off", "actions": [{"type": "FailFraming"}]}]
          },
          "on": {"frame_progressed": [{"target": "#receiving", "reenter": true}]}
        }
      }
    },
    "broken_off": {
      "id": "broken_off",
      "description": "Broken off",
      "on": {"receiving_ended": [{"target": "#between_frames"}]}
    }
  }
});
