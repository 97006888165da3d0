// Piscina, Node's pool of worker threads, two of them. Reads commands on
// standard input and answers each with one line of JSON:
//
//     sample WAITING ITEMS    numbers in, their squares out; each worker has
//                             up to WAITING of them at once
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

export default (n) => n * n;

const pools = new Map();

function pool(waiting) {
  if (!pools.has(waiting)) {
    // From where the peers are installed, which is not where this file is.
    const { Piscina } = createRequire(`${process.env.PEERS}/package.json`)('piscina');
    const options = { minThreads: 2, maxThreads: 2, concurrentTasksPerWorker: waiting };
    pools.set(waiting, new Piscina({ filename: fileURLToPath(import.meta.url), ...options }));
  }
  return pools.get(waiting);
}

async function sample(waiting, items) {
  const workers = pool(waiting);
  const started = performance.now();
  const results = await Promise.all(Array.from({ length: items }, (_, n) => workers.run(n)));
  const seconds = (performance.now() - started) / 1e3;
  if (results.some((value, n) => value !== n * n)) throw new Error('wrong values');
  return { seconds, items };
}

if (isMainThread) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [, waiting, items] = line.split(' ');
    let reply;
    try {
      reply = await sample(Number(waiting), Number(items));
    } catch (error) {
      reply = { error: `${line}: ${error}` };
    }
    console.log(JSON.stringify(reply));
  }
  process.exit(0);
}
