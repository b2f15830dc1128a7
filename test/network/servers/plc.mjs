// The official PLC directory, in memory, with a log that is replayed at the next start.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { LOOPBACK } from './state.mjs'

// Both packages are CommonJS without named exports.
const require = createRequire(import.meta.url)
const { Database, PlcServer } = require('@did-plc/server')
const { validateOperationLog } = require('@did-plc/lib')

export async function startPlc({ state, port }) {
  const db = await openDatabase(path.join(state.dir, 'plc.jsonl'))
  const server = PlcServer.create({ db, port })
  answerMultikeyDocuments(server.app, db)
  listenOnLoopback(server.app)
  await server.start()
  return { url: `http://localhost:${port}`, stop: () => server.destroy() }
}

// listenOnLoopback: both servers call app.listen(port), which would open the port on every interface.
export function listenOnLoopback(app) {
  const listen = app.listen.bind(app)
  app.listen = (port) => listen(port, LOOPBACK)
}

async function openDatabase(log) {
  const db = Database.mock()
  const lines = fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').filter(Boolean) : []
  for (const line of lines) {
    const { did, op } = JSON.parse(line)
    await db.validateAndAddOp(did, op)
  }
  const add = db.validateAndAddOp.bind(db)
  db.validateAndAddOp = async (did, op) => {
    await add(did, op)
    fs.appendFileSync(log, JSON.stringify({ did, op }) + '\n')
  }
  return db
}

// The published package renders DID documents of an older form; today's plc.directory answers Multikey documents, and
// strict verifiers refuse the former. Everything but GET /{did} stays with the package.
function answerMultikeyDocuments(app, db) {
  const handle = app.handle.bind(app)
  app.handle = async (req, res, next) => {
    const did = decodeURIComponent(req.url.slice(1))
    const ops = req.method === 'GET' && /^did:plc:[a-z2-7]{24}$/.test(did) ? await db.opsForDid(did) : []
    const data = ops.length ? await validateOperationLog(did, ops) : null // null: tombstoned
    if (!data) return handle(req, res, next)
    res.setHeader('content-type', 'application/did+ld+json')
    res.end(JSON.stringify(document(did, data)))
  }
}

function document(did, data) {
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
    id: did,
    alsoKnownAs: data.alsoKnownAs,
    verificationMethod: Object.entries(data.verificationMethods).map(([id, key]) => ({
      id: `${did}#${id}`,
      type: 'Multikey',
      controller: did,
      publicKeyMultibase: key.replace(/^did:key:/, ''),
    })),
    service: Object.entries(data.services).map(([id, service]) => ({
      id: `#${id}`,
      type: service.type,
      serviceEndpoint: service.endpoint,
    })),
  }
}
