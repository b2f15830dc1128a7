// Names that exist only here. The servers reach each other and the applications under test by https names
// (https://pds1.atoll-tests.net, https://app-x.atoll-tests.net) that are served on plain-http loopback ports.
import { request } from 'node:http'
import { Readable } from 'node:stream'

const LOOPBACK_NAMES = new Set(['localhost', '127.0.0.1', '[::1]'])

export class Hosts {
  #map = new Map()

  // set points a name at an address "127.0.0.1:PORT". A name that begins with a dot stands for every name below it.
  set(name, address) {
    if (address) this.#map.set(name, address)
    else this.#map.delete(name)
  }

  // address of a host name, or undefined. The longest match wins, as in a routing table.
  address(host) {
    if (this.#map.has(host)) return this.#map.get(host)
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
      const found = this.#map.get(host.slice(dot))
      if (found) return found
    }
    return undefined
  }

  // installFetch replaces the global fetch, which everything that a PDS fetches for an account ends in: client
  // metadata, key sets, handles and did:web documents. Other names than ours are refused: a test never leaves the machine.
  installFetch() {
    const original = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      const req = new Request(input, init)
      const url = new URL(req.url)
      const address = this.address(url.hostname)
      if (address) return fetchMapped(req, url, address)
      if (LOOPBACK_NAMES.has(url.hostname)) return original(req)
      throw new TypeError(`${url.hostname} is not part of the local network`)
    }
  }
}

// fetchMapped keeps the Host header that the caller meant (fetch itself would not), because a PDS tells handles apart by it.
async function fetchMapped(req, url, address) {
  const body = req.body ? Buffer.from(await req.arrayBuffer()) : undefined
  const headers = { ...Object.fromEntries(req.headers), host: url.host }
  const target = new URL(url.pathname + url.search, `http://${address}`)
  const answer = await new Promise((resolve, reject) => {
    const out = request(target, { method: req.method, headers, signal: req.signal }, resolve)
    out.once('error', reject).end(body)
  })
  if (req.redirect === 'error' && answer.statusCode >= 300 && answer.statusCode < 400) {
    answer.resume()
    throw new TypeError(`${url} answered with a redirect`)
  }
  const empty = [204, 205, 304].includes(answer.statusCode)
  const list = Object.entries(answer.headersDistinct).flatMap(([name, values]) => values.map((value) => [name, value]))
  const response = new Response(empty ? null : Readable.toWeb(answer), { status: answer.statusCode, headers: list })
  // A made-up Response has no address of its own, but callers compare it with the one they asked for.
  Object.defineProperty(response, 'url', { value: req.url })
  return response
}
