// secs4js, with the two programs of program.py: `listen PORT WORK` and `ask PORT PEER WORK`.

import { readFileSync } from "node:fs";

// Installed for the interop tests.
const {
  A, B, BOOLEAN, F4, F8, HsmsActiveCommunicator, HsmsPassiveCommunicator, I4, L, U1, U2, U4,
} = await import(new URL("../../../tests/interop/node_modules/secs4js/lib/index.js", import.meta.url));

const SLOW = 50;
const TICK = 100;
const REPLY = L(A("PEER"), A("1"));
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));
const seconds = () => Number(process.hrtime.bigint()) / 1e9;

function open(Communicator, port) {
  const end = new Communicator({
    ip: "127.0.0.1", port, deviceId: 0, isEquip: true, name: "peer", timeoutT5: 0.1, timeoutRebind: 0.1,
  });
  end.on("error", (error) => console.error(error.message));
  return end;
}

async function listen(port) {
  const end = open(HsmsPassiveCommunicator, port);
  end.on("message", async (message) => {
    const reply = (body) => end.reply(message, message.stream, message.func + 1, body);
    switch (`S${message.stream}F${message.func}`) {
      case "S1F3":
        await sleep(SLOW);
        return reply(REPLY);
      case "S2F25":
        return reply(message.body);
      case "S6F11":
        // Its items are decoded by the time that it calls back.
        return undefined;
      default:
        return reply(REPLY);
    }
  });
  await end.open();
  console.log("ready");
}

async function select(port) {
  const end = open(HsmsActiveCommunicator, port);
  const selected = new Promise((resolve) => end.once("selected", resolve));
  end.open();
  await selected;
  return end;
}

function status(process_, row) {
  const found = readFileSync(`/proc/${process_}/status`, "utf8").match(new RegExp(`${row}:\\s+(\\d+)`));
  return Number(found[1]) * 1024;
}

function cpu(peer) {
  const fields = readFileSync(`/proc/${peer}/stat`, "utf8").split(") ")[1].split(" ");
  const own = process.cpuUsage();
  return (own.user + own.system) / 1e6 + (Number(fields[11]) + Number(fields[12])) / TICK;
}

class Meter {
  constructor(peer) {
    this.peer = peer;
    this.asking = status("self", "VmRSS");
    this.answering = status(peer, "VmRSS");
  }

  begin() {
    this.cpuBegan = cpu(this.peer);
    this.began = seconds();
  }

  end(count, trips = []) {
    const taken = seconds() - this.began;
    const figures = {
      rate: count / taken,
      cpu: (cpu(this.peer) - this.cpuBegan) / count,
      peak_asking: status("self", "VmHWM") - this.asking,
      peak_answering: status(this.peer, "VmHWM") - this.answering,
    };
    if (trips.length > 0) {
      trips.sort((a, b) => a - b);
      figures.median = trips[Math.floor(trips.length / 2)];
      figures.p99 = trips[Math.floor(trips.length * 0.99)];
    }
    return figures;
  }
}

async function makeTrips(end, work, meter) {
  const large = work.size === null ? null : B(Buffer.alloc(work.size));
  const trip = () => (large === null ? end.send(1, 1, true, null) : end.send(2, 25, true, large));
  let trips = [];
  async function together(count) {
    let left = count;
    await Promise.all(Array.from({ length: work.in_flight }, async () => {
      while (left-- > 0) {
        const began = seconds();
        await trip();
        trips.push(seconds() - began);
      }
    }));
  }
  let isOver = false;
  await together(Math.max(work.in_flight, Math.min(20, Math.floor(work.count / 4)), 1));
  trips = [];
  if (work.beside_slow) {
    (async () => {
      while (!isOver) await end.send(1, 3, true, L());
    })();
  }
  meter.begin();
  await together(work.count);
  isOver = true;
  return meter.end(work.count, trips);
}

function event() {
  const report = (number) => L(
    U4(1000 + number),
    L(
      A("LOT-0815"), U4(70_000 + number), F8(21.5), BOOLEAN(true), U1(3), A("RECIPE-A"), I4(-7), F4(0.25),
      U2(512), B(Buffer.from([1, 2])),
    ),
  );
  return L(U4(1), U4(4711), L(report(0), report(1), report(2)));
}

async function sendEvents(end, work, meter) {
  await end.send(1, 1, true, null);
  meter.begin();
  for (let number = 0; number < work.count; number += 1) await end.send(6, 11, false, event());
  await end.send(1, 1, true, null);
  return meter.end(work.count);
}

async function connect(port, work, meter) {
  meter.begin();
  for (let number = 0; number < work.count; number += 1) {
    const end = await select(port);
    // It would dial again at once.
    end.shouldStop = true;
    const gone = new Promise((resolve) => end.once("disconnected", resolve));
    await end.sendSeparateReq();
    await gone;
  }
  return meter.end(work.count);
}

async function ask(port, peer, work) {
  const meter = new Meter(peer);
  if (work.tls) return { cannot: "it has no TLS" };
  switch (work.kind) {
    case "Trips":
      return makeTrips(await select(port), work, meter);
    case "Events":
      return sendEvents(await select(port), work, meter);
    case "Start":
      await select(port);
      return { start: seconds() - work.began };
    case "Connects":
      return connect(port, work, meter);
    default:
      return { cannot: "its listener takes one connection, and it has no charts to step" };
  }
}

const [program, port, ...words] = process.argv.slice(2);
if (program === "listen") {
  await listen(Number(port));
} else {
  const said = await ask(Number(port), words[0], JSON.parse(words[1]));
  process.stdout.write(`${JSON.stringify(said)}\n`, () => process.exit(0));
}
