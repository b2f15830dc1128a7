// An official PDS, settled on loopback and made to get along with its neighbour.
import fs from 'node:fs'
import path from 'node:path'
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'
import { listenOnLoopback } from './plc.mjs'
import { LOOPBACK } from './state.mjs'

const WORDS = ['one', 'two', 'three', 'four']

export async function startPds({ state, hosts, plcUrl, number, port, name }) {
  const word = WORDS[number - 1]
  // A PDS decides by the end of a handle whether it is its own: the domains must not overlap.
  const handleDomain = `.${name ?? `${word}.test`}`
  const env = settings({ state, plcUrl, number, port, name, handleDomain, dir: path.join(state.dir, `pds-${word}`) })
  fs.mkdirSync(env.blobstoreDiskLocation, { recursive: true })

  const pds = await PDS.create(envToCfg(env), envToSecrets(env))
  // The names exist in no DNS; without it handles are resolved by https://{handle}/.well-known/atproto-did, which is mapped.
  pds.ctx.idResolver.handle.resolveDns = async () => undefined
  listenOnLoopback(pds.app)
  await pds.start()

  const listen = `${LOOPBACK}:${port}`
  if (name) hosts.set(name, listen)
  hosts.set(handleDomain, listen)
  const { publicUrl: url, did } = pds.ctx.cfg.service
  // Both answers to "may anybody make an account?" are configurations of real servers.
  const setInvites = (required) => {
    pds.ctx.cfg.invites.required = required
  }
  return { url, did, listen, handleDomain, ...outages(pds.server, port), setInvites, stop: () => pds.destroy() }
}

function settings({ state, plcUrl, number, port, name, handleDomain, dir }) {
  return {
    devMode: true, // an http address of its own, and requests to loopback
    port,
    hostname: name ?? 'localhost', // address and issuer are http only for localhost
    serviceDid: name ? `did:web:${name}` : `did:web:localhost%3A${port}`, // the default is the same for both
    serviceName: `Local PDS ${WORDS[number - 1]}`,
    dataDirectory: dir,
    blobstoreDiskLocation: path.join(dir, 'blobs'),
    blobstoreDiskTmpLocation: path.join(dir, 'tmp'),
    didPlcUrl: plcUrl,
    serviceHandleDomains: [handleDomain],
    inviteRequired: false,
    adminPassword: 'admin',
    jwtSecret: state.secret(`jwt${number}`),
    dpopSecret: state.secret(`dpop${number}`),
    plcRotationKeyK256PrivateKeyHex: state.secret(`rotation${number}`),
  }
}

// outages lets a test see a PDS go away and come back: nothing listens on its port and every connection is cut,
// WebSockets included, while the process and its data stay.
function outages(server, port) {
  const sockets = new Set()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  const down = () =>
    new Promise((resolve) => {
      server.close(() => resolve())
      for (const socket of sockets) socket.destroy()
    })
  const up = () =>
    new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, LOOPBACK, () => {
        server.off('error', reject)
        resolve()
      })
    })
  return { setUp: (wanted) => (wanted === server.listening ? undefined : wanted ? up() : down()) }
}
