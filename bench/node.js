'use strict';

// One process of Node's cluster-client, which takes orders as the processes of
// this program do: a line of JSON each, answered by one.

const readline = require('readline');
const cluster = require('cluster-client');
const Base = require('sdk-base');

const payload = 'x'.repeat(100);
const growth = Math.log(1.005); // of a bucket, as in histogram.go
const buckets = 5600;

class Client extends Base {
  constructor(options) {
    super(options);
    this.ready(true);
  }

  // The value is the leader's pid, as in takeover.go.
  subscribe(reg, listener) {
    setImmediate(() => listener({ pid: process.pid }));
  }

  publish() {}

  async echo(message) {
    return message;
  }
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

const client = cluster(Client, {
  name: 'bench',
  port: Number(process.argv[2]),
  logger: silent,
  responseTimeout: 30000,
  transcode: {
    encode: value => Buffer.from(JSON.stringify(value)),
    decode: data => JSON.parse(data),
  },
}).delegate('echo', 'invoke').create({});

client.on('error', () => {}); // a lost leader is what is measured

let pid = 0;
let waiting = () => {};
const later = ms => new Promise(resolve => setTimeout(resolve, ms));
const bucket = ns => Math.min(buckets - 1, Math.floor(Math.log(Math.max(ns, 1)) / growth));

async function call() {
  const reply = await client.echo({ text: payload });
  if (reply.text.length !== payload.length) throw new Error(`${reply.text.length} characters came back`);
}

async function calls({ in_flight: inFlight, duration }) {
  const start = process.hrtime.bigint();
  const end = start + BigInt(duration);
  const latencies = {};
  let made = 0;
  if (inFlight === 1) {
    for (let before = start; before < end; made++) {
      await call();
      const now = process.hrtime.bigint();
      const b = bucket(Number(now - before));
      latencies[b] = (latencies[b] || 0) + 1;
      before = now;
    }
    return { calls: made, elapsed: Number(process.hrtime.bigint() - start), latencies };
  }
  let over = false;
  const loop = async () => {
    while (!over) {
      await call();
      if (!over) made++;
    }
  };
  const loops = Array.from({ length: inFlight }, loop);
  await later(duration / 1e6);
  over = true;
  const elapsed = Number(process.hrtime.bigint() - start);
  const counted = made;
  await Promise.all(loops);
  return { calls: counted, elapsed };
}

const ops = {
  calls,
  async state() {
    while (pid === 0) await later(5);
    return { leads: client.isClusterClientLeader, pid: process.pid };
  },
  // Waits for a value of another leader and says when it came.
  async fresh({ pid: old }) {
    while (pid === old) await new Promise(resolve => { waiting = resolve; });
    return Number(freshAt);
  },
};

let freshAt = 0;

const say = answer => process.stdout.write(JSON.stringify(answer) + '\n');

async function main() {
  await client.ready();
  client.subscribe({ key: 'pid' }, value => {
    pid = value.pid;
    freshAt = Math.round((performance.timeOrigin + performance.now()) * 1e6);
    waiting();
  });
  say({ result: null });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { op, args } = JSON.parse(line);
    try {
      say({ result: await ops[op](args) });
    } catch (err) {
      say({ err: String(err) });
    }
  }
  process.exit(0);
}

main().catch(err => {
  say({ err: String(err) });
  process.exit(1);
});
