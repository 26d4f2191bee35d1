// secs4js, with the commands of tests/interop/peers/__init__.py.

import { createInterface } from "node:readline";
import {
  A, B, HsmsActiveCommunicator, HsmsPassiveCommunicator, L, Secs2ItemParser,
} from "secs4js";

const PATIENCE = 60_000;
let end = null;
let selected = null;
let gone = null;

async function within(promise, why) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(why)), PATIENCE);
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function answer(message) {
  const zero = () => B(Buffer.from([0]));
  switch (`S${message.stream}F${message.func}`) {
    case "S1F1":
      return L(A("PEER"), A("1"));
    case "S1F13":
      return L(zero(), L(A("PEER"), A("1")));
    case "S2F25":
      return message.body;
    default: {
      const [, params] = message.body.value;
      return L(zero(), L(...params.value.map((each) => L(A(each.value[0].value), zero()))));
    }
  }
}

function expectZero(name, status) {
  if (status !== 0) throw new Error(`${name} has status ${status}`);
}

const commands = {
  async start(mode, port) {
    const Communicator = mode === "active" ? HsmsActiveCommunicator : HsmsPassiveCommunicator;
    end = new Communicator({
      ip: "127.0.0.1", port: Number(port), deviceId: 0, isEquip: true, name: "peer",
      timeoutT5: 0.1, timeoutRebind: 0.1,
    });
    selected = new Promise((resolve) => end.once("selected", resolve));
    gone = new Promise((resolve) => end.once("disconnected", resolve));
    end.on("error", (error) => console.error(error.message));
    end.on("message", (message) => {
      end.reply(message, message.stream, message.func + 1, answer(message))
        .catch((error) => console.error(error.message));
    });
    const opened = end.open();
    if (mode === "passive") await opened;
  },
  selected: () => within(selected, "it did not see itself selected"),
  gone: () => within(gone, "it did not notice the end of the connection"),
  async ask(stream, func, body) {
    const item = body === "-" ? null : Secs2ItemParser.fromBuffer(Buffer.from(body, "hex")).item;
    const reply = await end.send(Number(stream), Number(func), true, item);
    const read = reply.body === null ? "-" : reply.body.toBuffer().toString("hex");
    return `${reply.stream} ${reply.func} ${read}`;
  },
  linktest: () => end.sendLinkTestReq(),
  select: async () => expectZero("Select.rsp", await end.sendSelectReq()),
  separate: async () => {
    // It would dial again at once.
    end.shouldStop = true;
    await end.sendSeparateReq();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [number, name, ...words] = line.split(" ");
  commands[name](...words).then(
    (said) => console.log(number, "ok", said ?? ""),
    (error) => console.log(number, "failed", error.message.replaceAll("\n", " ")),
  );
}
process.exit(0);
