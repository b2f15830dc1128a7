// What must be the same at the next run in the same data folder: secrets and ports.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'

export const LOOPBACK = '127.0.0.1'

// listenable resolves with the port (a free one when asked for 0), or with undefined when it is taken.
function listenable(port) {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(undefined))
    probe.listen(port, LOOPBACK, () => {
      const found = probe.address().port
      probe.close(() => resolve(found))
    })
  })
}

export class State {
  #file
  #base
  #kept

  constructor(dir, basePort) {
    fs.mkdirSync(dir, { recursive: true })
    this.dir = dir
    this.#base = basePort
    this.#file = path.join(dir, 'state.json')
    this.#kept = fs.existsSync(this.#file) ? JSON.parse(fs.readFileSync(this.#file, 'utf8')) : {}
  }

  // secret is 32 random bytes in hexadecimal, made at the first run.
  secret(name) {
    return (this.#kept[name] ??= randomBytes(32).toString('hex'))
  }

  // port is decided at the first run. It is not changed when it is taken later: the DID documents name it.
  async port(name, offset) {
    const key = `port-${name}`
    if (!this.#kept[key]) {
      const wanted = this.#base ? await listenable(this.#base + offset) : undefined
      this.#kept[key] = wanted ?? (await listenable(0))
    }
    return this.#kept[key]
  }

  save() {
    fs.writeFileSync(this.#file, JSON.stringify(this.#kept), { mode: 0o600 })
  }
}
