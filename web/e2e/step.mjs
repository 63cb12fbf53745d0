// One step of a story: the first that fails leaves its pictures and ends the story.
import { test } from 'node:test'

export function step(world, name, work) {
  test(name, async (t) => {
    if (world.broken) return t.skip(`an earlier step failed: ${world.broken}`)
    const began = performance.now()
    try {
      await work(t)
    } catch (error) {
      world.broken = name
      await world.stage.failed().catch(() => {})
      if (!world.stopped) console.log(world.hub.logs())
      throw error
    }
    t.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s`)
  })
}
