// Starts the demo as `make demo` does, on free ports and with data of its own, and sees to it that
// nothing is left of it afterwards.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, closeSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** A city is imported before the hub is ready, by a binary that is not optimised. */
const START = 90_000
/** Every other wait ends by then. */
export const BOUND = 30_000

/** Asks again until `look` answers something true. */
export async function until(look, what, bound = BOUND) {
  const end = Date.now() + bound
  let last
  for (;;) {
    try {
      const found = await look()
      if (found) return found
      last = undefined
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`waited ${bound / 1000} s in vain: ${what}${last ? ` (${last.message})` : ''}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** The processes of a group, by /proc: nothing that the demo started may outlive it. */
function groupOf(leader) {
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).flatMap((entry) => {
    try {
      const text = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const [state, , group] = text.slice(text.lastIndexOf(')') + 2).split(' ')
      // A zombie has ended; whoever started it has only not looked yet.
      return Number(group) === leader && state !== 'Z' ? [{ pid: Number(entry), name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')) }] : []
    } catch {
      return []
    }
  })
}

const psql = (url, statement) => execFileSync('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c', statement], { stdio: ['ignore', 'pipe', 'pipe'] })

/** A database of its own on the server that tests may use. */
function ownDatabase(server) {
  const name = `zhongshu_e2e_${process.pid}_${Date.now()}`
  psql(server, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => psql(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) }
}

/** Which databases the suite runs on: SQLite always, PostgreSQL when the tests were given a server. */
export function databases() {
  const server = process.env.ZHONGSHU_TEST_POSTGRES
  if (server) return [{ name: 'sqlite' }, { name: 'postgres', server }]
  console.log('\n########  PostgreSQL is SKIPPED: ZHONGSHU_TEST_POSTGRES is not set.  ########\n########  Run `make e2e`, which starts a private server.             ########\n')
  return [{ name: 'sqlite' }]
}

/**
 * The demo, running and ready.
 * @param {{ name: string, server?: string }} database
 * @param {{ speed?: number, end?: 'SIGINT' | 'SIGTERM' }} options speed: how much faster durations in processes run
 */
export async function startDemo(database, { speed = 60, end = 'SIGTERM' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'zhongshu-e2e-'))
  const [http, mqtt, control, gateway] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  const faults = join(folder, 'none.toml')
  writeFileSync(faults, '# No faults by script: the tests start them by the control door.\n')
  const own = database.server ? ownDatabase(database.server) : null
  const log = join(folder, 'demo.log')
  const out = openSync(log, 'w')
  const child = spawn('bash', [join(root, 'scripts/demo.sh')], {
    cwd: root,
    // A group of its own, as a terminal would give it.
    detached: true,
    stdio: ['ignore', out, out],
    env: {
      ...process.env,
      CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR ?? join(root, 'target'),
      DEMO_FOLDER: join(folder, 'demo'), DEMO_HTTP: `127.0.0.1:${http}`, DEMO_MQTT: `127.0.0.1:${mqtt}`, DEMO_CONTROL: `127.0.0.1:${control}`, DEMO_GATEWAY: `127.0.0.1:${gateway}`,
      DEMO_SPEED: String(speed), DEMO_FAULTS: faults, DEMO_LOG: 'info', ...(own ? { DEMO_DATABASE: own.url } : {}),
    },
  })
  closeSync(out)
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  let gone = null
  void ended.then((how) => (gone = how))

  const tail = (file, lines = 40) => {
    try {
      return readFileSync(file, 'utf8').split('\n').slice(-lines).join('\n')
    } catch {
      return '(no such file)'
    }
  }
  const logs = () => `--- demo\n${tail(log)}\n--- hub\n${tail(join(folder, 'demo/hub.log'))}\n--- citysim\n${tail(join(folder, 'demo/citysim.log'), 15)}`
  const base = `http://127.0.0.1:${http}`
  const door = `http://127.0.0.1:${control}`

  async function stop() {
    if (!gone) process.kill(child.pid, end)
    try {
      await until(() => gone && groupOf(child.pid).length === 0, 'the demo ends with all its processes', 20_000)
    } catch (error) {
      const left = groupOf(child.pid).map(({ pid, name }) => `${name} (${pid})`).join(', ')
      for (const { pid } of groupOf(child.pid)) process.kill(pid, 'SIGKILL')
      throw new Error(`${error.message}; still there: ${left || 'nothing but the script'}\n${logs()}`, { cause: error })
    } finally {
      own?.drop()
    }
    const hubLog = readFileSync(join(folder, 'demo/hub.log'), 'utf8')
    const bad = hubLog.split('\n').filter((line) => /panicked|\bERROR\b/.test(line))
    if (bad.length > 0) throw new Error(`the hub's log has errors:\n${bad.slice(0, 20).join('\n')}`)
    rmSync(folder, { recursive: true, force: true })
  }

  try {
    await until(async () => {
      if (gone) return true
      if ((await fetch(`${base}/readyz`)).status !== 200) return false
      return (await fetch(`${door}/state`)).ok
    }, 'the hub and the simulated city are ready', START)
    if (gone) throw new Error('the demo ended by itself')
  } catch (error) {
    if (!gone) for (const { pid } of groupOf(child.pid)) process.kill(pid, 'SIGKILL')
    own?.drop()
    throw new Error(`${error.message}\n${logs()}`, { cause: error })
  }

  const accounts = new Map(
    readFileSync(join(folder, 'demo/accounts.txt'), 'utf8').trim().split('\n').map((line) => line.split('\t')),
  )
  return {
    base, port: http, folder, logs, stop,
    password: (login) => {
      const password = accounts.get(login)
      if (!password) throw new Error(`the demo made no account ${login}`)
      return password
    },
    /** Breaks something in the city, now. */
    async fault(kind, target, more = {}) {
      const response = await fetch(`${door}/faults`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ kind, target, ...more }) })
      if (response.status !== 202) throw new Error(`the control door refused ${kind} of ${target}: ${response.status} ${await response.text()}`)
    },
    /** What the stand-in for the gateway was sent, oldest first. */
    async messages() {
      return (await fetch(`http://127.0.0.1:${gateway}/messages`)).json()
    },
    /** Tells the stand-in which channels are dead or refused. */
    async gatewayMode(mode) {
      const response = await fetch(`http://127.0.0.1:${gateway}/mode`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(mode) })
      if (response.status !== 204) throw new Error(`the gateway's stand-in answers ${response.status}`)
    },
    async city() {
      return (await fetch(`${door}/state`)).json()
    },
  }
}
