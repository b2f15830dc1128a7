// The local network: an official PLC directory and official PDSes in one process, on loopback only.
//
//   node main.mjs [--pds 2] [--data DIR] [--port BASE] [--names pds1.atoll-tests.net,pds2.atoll-tests.net]
//
// --data   keeps repositories, keys, ports and the directory's log between runs; without it a temporary folder is
//          used and removed at the end.
// --port   ports asked for on the first run in a data folder (directory BASE, PDSes BASE+1, …). A port that is taken
//          is replaced by a free one then; afterwards ports are fixed, since DID documents name them. 0: any free port.
// --names  what the PDSes say they are: https://NAME in DID documents, OAuth metadata and proofs, though the wire is
//          plain http on loopback. Callers map the names. Without it a PDS is http://localhost:PORT.
//
// Prints one line of JSON when everything answers. Ends on SIGTERM, SIGINT, or when standard input (a pipe) closes, so that it
// never outlives whoever started it.
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Hosts } from './hosts.mjs'
import { State } from './state.mjs'

const text = (value) => ({ type: 'string', default: value })
const options = { pds: text('2'), data: text(''), port: text('0'), names: text('') }
const flags = parseArgs({ options }).values

// Before the servers are imported: they log to standard output by default, which belongs to the JSON line.
process.env.LOG_DESTINATION ??= '2'
// Whoever reads our standard error may be gone before us; that is no reason to leave files behind.
process.stderr.on('error', () => {})

const hosts = new Hosts()
hosts.installFetch()
const { startPlc } = await import('./plc.mjs')
const { startPds } = await import('./pds.mjs')
const { startControl } = await import('./control.mjs')

const data = flags.data ? path.resolve(flags.data) : fs.mkdtempSync(path.join(tmpdir(), 'atoll-network-'))
const running = []

async function stop(code) {
  setTimeout(() => process.exit(1), 10_000).unref()
  await Promise.allSettled(running.map((server) => server.stop()))
  if (!flags.data) fs.rmSync(data, { recursive: true, force: true })
  process.exit(code)
}
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stop(0))
process.stdin.once('close', () => stop(0)).resume()

try {
  const state = new State(data, Number(flags.port))
  const plc = await startPlc({ state, port: await state.port('plc', 0) })
  running.push(plc)
  const names = flags.names.split(',').filter(Boolean)
  const pdses = []
  for (let i = 0; i < Number(flags.pds); i++) {
    const port = await state.port(`pds${i + 1}`, i + 1)
    const pds = await startPds({ state, hosts, plcUrl: plc.url, number: i + 1, port, name: names[i] })
    running.push(pds)
    pdses.push(pds)
  }
  const control = await startControl({ hosts, pdses })
  running.push(control)
  state.save()
  const about = pdses.map(({ url, did, listen, handleDomain }) => ({ url, did, listen, handleDomain }))
  console.log(JSON.stringify({ plc: plc.url, pds: about, adminPassword: 'admin', control: control.url, dataDir: data }))
} catch (err) {
  const taken = err.code === 'EADDRINUSE'
  console.error(taken ? `port ${err.port} is taken by another program` : err.stack)
  await stop(1)
}
