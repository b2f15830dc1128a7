// What a test may change while the network runs. Loopback only, and no secret guards it: nothing here is worth one.
//
//   PUT /hosts     {"app.atoll-tests.net": "127.0.0.1:8080", "gone.atoll-tests.net": null}
//   PUT /pds/0     {"up": false}
//   PUT /pds/0     {"invites": true}
import { once } from 'node:events'
import { createServer } from 'node:http'
import { LOOPBACK } from './state.mjs'

export async function startControl({ hosts, pdses }) {
  const server = createServer(async (req, res) => {
    try {
      const found = await act(req, { hosts, pdses })
      res.writeHead(found ? 204 : 404).end()
    } catch (err) {
      res.writeHead(400).end(err.message)
    }
  })
  server.listen(0, LOOPBACK)
  await once(server, 'listening')
  const stop = () => new Promise((resolve) => server.close(resolve).closeAllConnections())
  return { url: `http://${LOOPBACK}:${server.address().port}`, stop }
}

async function act(req, { hosts, pdses }) {
  const chunks = await req.toArray()
  const [, kind, which] = req.url.split('/')
  if (req.method !== 'PUT') return false
  const body = JSON.parse(Buffer.concat(chunks).toString())
  if (kind === 'hosts') {
    for (const [name, address] of Object.entries(body)) hosts.set(name, address)
    return true
  }
  if (kind === 'pds' && pdses[which]) {
    if ('up' in body) await pdses[which].setUp(body.up)
    if ('invites' in body) pdses[which].setInvites(body.invites)
    return true
  }
  return false
}
