// `make demo` in a real browser, on each database: the story of the first issue, and what may go wrong in it.
import { rmSync } from 'node:fs'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import { databases, startDemo } from './hub.mjs'
import { Stage, launch } from './browser.mjs'
import { burst } from './burst.mjs'
import { climb, leaveAlone } from './climb.mjs'
import { failures, goodbye } from './failures.mjs'
import { notified } from './notified.mjs'
import { pages } from './pages.mjs'
import { query } from './query.mjs'

const out = fileURLToPath(new URL('out/', import.meta.url))

for (const database of databases()) {
  describe(`on ${database.name}`, () => {
    /** What one test leaves to the next: the tests of a story stand in their order. */
    const world = { written: ['我去开会，请你结案', '压力表 0.09 兆帕', '更换 2 米立管', '现场复测 0.41 兆帕', '立管老化爆裂', '11 栋地下室阀门处漏水'] }
    before(async () => {
      rmSync(`${out}${database.name}`, { recursive: true, force: true })
      world.browser = await launch()
      // Both ways to end it, as a terminal does and as a service manager does.
      world.hub = await startDemo(database, { end: database.server ? 'SIGTERM' : 'SIGINT' })
      world.stage = new Stage(world.browser, world.hub.base, `${out}${database.name}`)
    })
    burst(world)
    leaveAlone(world)
    failures(world)
    climb(world)
    notified(world)
    // The pages are the same on every database; walking through all of them once is enough.
    if (!database.server) pages(world)
    query(world)
    goodbye(world)
    after(async () => {
      try {
        if (world.hub && !world.stopped) await world.hub.stop()
      } finally {
        await world.browser?.close()
      }
    })
  })
}
