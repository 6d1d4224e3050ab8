// A worker in Node.js that keeps the control protocol (docs/control-protocol.md): replace `handle` by your own tasks.
// `python -m taskqueue_drain.conformance -- node worker.js` tests it rule by rule. It connects without TLS.
'use strict';

const amqp = require('amqplib');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { randomBytes } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

/** Runs one task. `signal` is aborted at the task timeout. Throws if the task fails. */
async function handle(task, signal) {
  await sleep(task.seconds * 1000, undefined, { signal });
}

// ---- Settings: docs/worker-contract.md

const env = process.env;
const QUEUES = (env.TASKQUEUE_QUEUES || '').split(',').filter(Boolean);
const CONCURRENCY = Number(env.TASKQUEUE_CONCURRENCY || 1);
const PREFETCH = env.TASKQUEUE_PREFETCH === 'Auto' ? CONCURRENCY : Number(env.TASKQUEUE_PREFETCH || CONCURRENCY);
const TASK_TIMEOUT_SECONDS = Number(env.TASKQUEUE_TASK_TIMEOUT_SECONDS || 870);
const CONSUMER_TIMEOUT = 'x-consumer-timeout';
const CONSUMER_TIMEOUT_MS =
  (TASK_TIMEOUT_SECONDS * (Math.ceil((PREFETCH * QUEUES.length) / CONCURRENCY) + 1) + 60) * 1000;
const NAME = env.TASKQUEUE_NAME || '';
if ((env.TASKQUEUE_CONTRACT || '1') !== '1' || !QUEUES.length || !(CONCURRENCY > 0) || !(PREFETCH > 0)) {
  console.error('TASKQUEUE_CONTRACT must be 1; TASKQUEUE_QUEUES, _CONCURRENCY and _PREFETCH must be set and valid');
  process.exit(2);
}

/** Where to connect; read at each connect, because Secrets rotate. */
function brokerUrl() {
  const binding = env.SERVICE_BINDING_ROOT && path.join(env.SERVICE_BINDING_ROOT, 'broker');
  const has = (key) => binding && fs.existsSync(path.join(binding, key));
  const read = (key) => (has(key) ? fs.readFileSync(path.join(binding, key), 'utf8').trimEnd() : '');
  const url = new URL(read('uri') || (read('host') ? `amqp://${read('host')}` : env.RABBITMQ_URL));
  url.search = '?heartbeat=15';
  if (read('host') && read('port')) url.port = read('port');
  if (!url.username) [url.username, url.password] = [read('username'), read('password')].map(encodeURIComponent);
  const vhost = env.TASKQUEUE_VHOST || read('vhost');
  if (vhost) url.pathname = `/${encodeURIComponent(vhost)}`;
  return url.href;
}

// ---- Tasks

let channel = null; // of the consumers; null without a connection
let mayConsume = true; // false: drained or leaving
let isQuiet = false; // no message can arrive any more
let proofs = 0;
let completed = 0;
let failed = 0;
let busySeconds = 0;
let idleSince = now();
let hasConsumerTimeout = true; // false: the broker refuses it (RabbitMQ 4.3, classic queues: they never time out there)
const consumers = new Map(); // tag -> queue, and whether the broker has confirmed the consumer
const waiting = []; // messages that have not begun
const running = new Map(); // message -> when its task began

function now() {
  return performance.now() / 1000;
}

function receive(source, message, { consumerTag }) {
  if (source !== channel) return; // of a connection that is lost: the broker delivers it again
  if (message === null) { // the broker has cancelled the consumer
    const { queue } = consumers.get(consumerTag) ?? {};
    if (consumers.delete(consumerTag)) setTimeout(() => source === channel && mayConsume && consumeQueue(queue), 1000);
    changed();
  } else if (mayConsume) {
    waiting.push(message);
    start();
  } else { // it was on its way when the consumer was cancelled
    channel.nack(message, false, true);
    prove();
  }
}

function start() {
  while (mayConsume && running.size < CONCURRENCY && waiting.length) run(channel, waiting.shift());
  changed();
}

async function run(source, message) {
  const began = now();
  running.set(message, began);
  let settle = () => source.ack(message);
  try {
    await handle(JSON.parse(message.content.toString()), AbortSignal.timeout(TASK_TIMEOUT_SECONDS * 1000));
    completed += 1;
  } catch (error) {
    console.error(`task ${message.properties.messageId} failed:`, error);
    failed += 1;
    settle = () => source.nack(message, false, false); // the queue has a dead-letter exchange
  }
  if (source === channel) settle(); // otherwise the broker delivers it again
  idleSince = now();
  busySeconds += idleSince - began;
  running.delete(message);
  start();
}

function consumeQueue(queue) {
  const consumerTag = randomBytes(8).toString('hex');
  const consumer = { queue, isConfirmed: false };
  const confirmed = () => {
    consumer.isConfirmed = true;
    changed();
  };
  consumers.set(consumerTag, consumer);
  const options = hasConsumerTimeout ? { arguments: { [CONSUMER_TIMEOUT]: CONSUMER_TIMEOUT_MS } } : {};
  channel.consume(queue, ignore, { consumerTag, ...options }).then(confirmed, ignore);
}

function stopConsuming() {
  for (const message of waiting.splice(0)) channel.nack(message, false, true);
  for (const tag of consumers.keys()) channel.cancel(tag).catch(ignore);
  consumers.clear();
  prove();
}

/** RabbitMQ processes a channel in order: the answer to a synchronous method follows the last message. */
function prove() {
  const proof = ++proofs;
  const answered = () => {
    isQuiet = proof === proofs && !mayConsume;
    changed();
  };
  isQuiet = false;
  if (channel) channel.prefetch(PREFETCH).then(answered, ignore);
  else answered();
}

function ignore() {} // the channel or connection is closed, and the loop below connects again

function onConnected(opened) {
  channel = opened;
  // amqplib forgets a consumer at `basic.cancel-ok`, and throws at a message that arrives after it.
  channel.dispatchMessage = (fields, message) => receive(opened, message, fields);
  channel.prefetch(PREFETCH).catch(ignore);
  if (mayConsume) QUEUES.forEach(consumeQueue);
}

function onDisconnected() {
  channel = null;
  waiting.length = 0;
  consumers.clear();
  if (!mayConsume) prove();
  changed();
}

// ---- Commands

const INCARNATION = randomBytes(16).toString('hex');
const accepted = new Map(); // installation -> its last accepted command
let drain = null; // the drain in force
let unconfirmed = []; // drains that wait until the worker is quiet
let isLeaving = false;

class Malformed extends Error {}

const isText = (value) => typeof value === 'string' && value.length > 0 && value.length <= 256;
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isLease = (value) => typeof value === 'number' && value > 0 && value <= 120;

function onCommand(body) {
  let command;
  try {
    command = body.length <= 16384 && JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return; // no JSON
  }
  if (!isText(command?.id)) return;
  try {
    demand(command.version === 1, 'version');
    demand(isText(command.incarnation), 'incarnation');
    if (command.incarnation !== INCARNATION) return;
    demand(['drain', 'undrain', 'report'].includes(command.command), 'command');
    demand(isText(command.installation), 'installation');
    demand(isCount(command.epoch), 'epoch');
    demand(isCount(command.seq), 'seq');
    demand(command.command !== 'drain' || isLease(command.lease_seconds), 'lease_seconds');
    const reason = refusal(command);
    if (reason) answer(command, reason);
    else carryOut(command);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    answer(command, error.message);
  }
  changed();
}

function demand(holds, field) {
  if (!holds) throw new Malformed(`${field} is missing or not valid`);
}

function refusal({ command, installation, epoch, seq }) {
  for (const [name, last] of accepted) if (now() - last.at >= 120) accepted.delete(name);
  const last = accepted.get(installation);
  if (!last && accepted.size >= 100) return 'too many installations';
  if (last && (epoch < last.epoch || (epoch === last.epoch && seq < last.seq))) return 'superseded';
  if (drain && drain.installation !== installation) return 'drained by another installation';
  return isLeaving && command !== 'report' ? 'leaving' : null;
}

function carryOut(command) {
  const { installation, epoch, seq } = command;
  accepted.set(installation, { epoch, seq, at: now() });
  if (command.command === 'drain') {
    drain = { installation, epoch, seq, expiresAt: now() + command.lease_seconds };
    unconfirmed.push({ command, until: unconfirmed[0]?.until ?? now() + 4 });
    stop();
  } else {
    if (command.command === 'undrain') resume('undrained');
    answer(command);
  }
}

function stop() {
  if (!mayConsume) return;
  mayConsume = false;
  stopConsuming();
}

/** Ends the drain. */
function resume(reason) {
  drain = null;
  for (const { command } of unconfirmed.splice(0)) answer(command, reason);
  if (mayConsume || isLeaving) return;
  mayConsume = true;
  isQuiet = false;
  if (channel) QUEUES.forEach(consumeQueue);
}

function leave() {
  isLeaving = true;
  resume('leaving');
  stop();
  changed();
}

// ---- Reports

let control = null; // the channel of reports and commands
let answers = [];
let number = 0;
let reportedState = null;
let reportedAt = 0;

function answer(command, reason = null) {
  answers = [...answers, { id: command.id, result: reason ? 'refused' : 'done', reason }].slice(-100);
}

function state() {
  if (isLeaving) return 'leaving';
  if (!mayConsume) return isQuiet && !running.size ? 'drained' : 'draining';
  const confirmed = [...consumers.values()].filter((consumer) => consumer.isConfirmed);
  return confirmed.length === QUEUES.length ? 'consuming' : 'starting';
}

/** Does what is due: after each change, and ten times a second. */
function changed() {
  if (drain && now() >= drain.expiresAt) resume('the drain lease expired');
  if (isQuiet) for (const { command } of unconfirmed.splice(0)) answer(command);
  if (unconfirmed.length && now() >= unconfirmed[0].until) resume('the broker did not confirm the cancel');
  while (control && isReportDue()) report();
}

function isReportDue() {
  const period = ['draining', 'drained'].includes(state()) ? 5 : 15;
  return answers.length > 0 || state() !== reportedState || now() - reportedAt >= period;
}

function report() {
  number += 1;
  [reportedState, reportedAt] = [state(), now()];
  const fields = {
    version: 1,
    taskqueue: NAME,
    pod: env.TASKQUEUE_POD_UID || '',
    incarnation: INCARNATION,
    number,
    state: reportedState,
    in_flight: running.size,
    prefetched: waiting.length,
    idle_seconds: running.size ? 0 : now() - idleSince,
    oldest_seconds: running.size ? now() - Math.min(...running.values()) : null,
    completed,
    failed,
    busy_seconds: busySeconds,
    task_timeout_seconds: TASK_TIMEOUT_SECONDS,
    drain: drain && { installation: drain.installation, epoch: drain.epoch, seq: drain.seq },
    answer: answers.shift() ?? null,
  };
  const properties = { contentType: 'application/json', replyTo: 'amq.rabbitmq.reply-to', type: 'report' };
  control.publish('taskqueue.reports', NAME, Buffer.from(JSON.stringify(fields)), properties);
}

// ---- Connections: consumers and control channel have one each

async function stayConnected(name, opened, closed) {
  for (let failures = 0; ; failures += 1) {
    const began = now();
    let connection;
    try {
      connection = await amqp.connect(brokerUrl(), { clientProperties: { connection_name: name }, timeout: 10000 });
      const lost = new Promise((resolve) => connection.once('close', resolve));
      connection.on('error', ignore);
      const fresh = await connection.createChannel();
      fresh.on('error', (error) => {
        console.error(`${name}: ${error.message}`);
        if (error.message.includes(CONSUMER_TIMEOUT)) hasConsumerTimeout = false;
      });
      fresh.once('close', () => { // also when the connection is lost
        closed();
        connection.close().catch(ignore);
      });
      opened(fresh);
      await lost;
    } catch (error) {
      console.error(`${name}: ${error.message}`);
      connection?.close().catch(ignore);
    }
    if (now() - began > 30) failures = 0;
    await sleep(1000 * Math.random() * Math.min(30, 0.5 * 2 ** failures));
  }
}

function onControlOpened(opened) {
  opened.consume('amq.rabbitmq.reply-to', (message) => message && onCommand(message.content), { noAck: true }).then(() => {
    control = opened;
    answers = [];
    reportedState = null;
    changed();
  }, ignore);
}

async function end() {
  leave();
  while (running.size) await sleep(20);
  changed();
  await Promise.race([Promise.allSettled([channel?.close(), control?.close()]), sleep(2000)]);
  process.exit(0);
}

http
  .createServer((request, response) => {
    const isReady = ['consuming', 'draining'].includes(state());
    response.statusCode = { '/healthz': 200, '/readyz': isReady ? 200 : 503 }[request.url] ?? 404;
    response.end();
  })
  .listen(Number(env.TASKQUEUE_HTTP_PORT || 8080));
setInterval(changed, 100);
process.once('SIGTERM', end); // a second one ends the process at once
process.once('SIGINT', end);
stayConnected(NAME, onConnected, onDisconnected);
stayConnected(`${NAME} control`, onControlOpened, () => { control = null; });
