// bullmq.js push COUNT | work: BullMQ with a job that does nothing, over $PEER_SOCKET.
"use strict";
const { Queue, Worker } = require("bullmq");

const connection = { path: process.env.PEER_SOCKET, maxRetriesPerRequest: null };
const BATCH = 1000;

async function push(count) {
  const queue = new Queue("bench", { connection });
  for (let i = 0; i < count; i += BATCH) {
    const jobs = [];
    for (let j = i; j < Math.min(i + BATCH, count); j++) {
      jobs.push({ name: "noop", data: { n: j }, opts: { removeOnComplete: true } });
    }
    await queue.addBulk(jobs);
  }
  await queue.close();
}

function work() {
  new Worker("bench", async () => {}, {
    connection,
    concurrency: 100,
    removeOnComplete: { count: 0 },
  });
}

if (process.argv[2] === "push") {
  push(Number(process.argv[3])).then(() => process.exit(0));
} else {
  work();
}
