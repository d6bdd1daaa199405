// beequeue.js push COUNT | work: bee-queue with a job that does nothing, over $PEER_SOCKET.
"use strict";
const Queue = require("bee-queue");

const BATCH = 1000;
const settings = (worker) => ({
  redis: { path: process.env.PEER_SOCKET },
  isWorker: worker,
  getEvents: false,
  sendEvents: false,
  storeJobs: false,
  removeOnSuccess: true,
});

async function push(count) {
  const queue = new Queue("bench", settings(false));
  for (let i = 0; i < count; i += BATCH) {
    const jobs = [];
    for (let j = i; j < Math.min(i + BATCH, count); j++) {
      jobs.push(queue.createJob({ n: j }));
    }
    const errors = await queue.saveAll(jobs);
    if (errors.size > 0) {
      throw new Error("not all were stored");
    }
  }
}

if (process.argv[2] === "push") {
  push(Number(process.argv[3])).then(() => process.exit(0));
} else {
  new Queue("bench", settings(true)).process(20, async () => {});
}
