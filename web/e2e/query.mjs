// 数据查询: an officer asks in SQL, on real observations.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { DESK, PHONE, barriers } from './browser.mjs'
import { step } from './step.mjs'

/** Asks, and waits for the answer or the reason why there is none. */
async function ask(page, sql) {
  await page.getByTestId('query-sql').fill(sql)
  await page.getByTestId('query-sql').press('Control+Enter')
  await page.waitForFunction(() => !document.querySelector('[data-testid="query-stop"]'))
}

export function query(world) {
  step(world, 'an officer asks the lake in SQL: rows, a file, a wrong statement, nothing found', async () => {
    const { stage, hub } = world
    for (const [size, viewport] of [['desk', DESK], ['phone', PHONE]]) {
      const page = await stage.enter(hub, 'street', viewport, { path: '/query' })
      await page.goto('/query')
      const state = page.getByTestId('query-state')
      assert.match(await state.innerText(), /写一条 SELECT 语句/)
      const look = async (what) => {
        await stage.shot(page, `query-${what}-${size}`)
        assert.deepEqual(await barriers(page), [], what)
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
        assert.equal(wide, 0, `${what}: wider than the screen`)
      }

      // What the page itself offers gives rows, for the simulated city has been sending.
      await page.getByTestId('query-run').click()
      await page.waitForFunction(() => /^[\d,]+ 行/.test(document.querySelector('[data-testid="query-state"]').innerText))
      await look('rows')
      const [file] = await Promise.all([page.waitForEvent('download'), page.getByTestId('query-csv').click()])
      const csv = readFileSync(await file.path(), 'utf8')
      assert.ok(csv.startsWith('\uFEFF') && csv.split('\n').length > 2, 'a file with rows')

      // The place of the fault is told, and one click goes there.
      await stage.during(/status of 400/, () => ask(page, 'SELECT thing\nFROM observation'))
      await page.getByTestId('query-problem').waitFor()
      await look('wrong')

      await ask(page, "SELECT thing FROM observations WHERE phenomenon_time < TIMESTAMP '1999-01-01T00:00:00Z'")
      await page.getByTestId('query-empty').waitFor()
      await look('empty')
      await stage.leave(page)
    }
    // Who may not ask is not shown the page, and is told why when the address is typed.
    const page = await stage.enter(hub, 'property', DESK)
    assert.equal(await page.locator('a[href="/query"]').count(), 0)
    await page.goto('/query')
    await page.locator('main h1').waitFor()
    assert.equal(await page.getByTestId('query-sql').count(), 0)
    await stage.shot(page, 'query-not-allowed')
    await stage.leave(page)
    stage.clean()
  })
}
