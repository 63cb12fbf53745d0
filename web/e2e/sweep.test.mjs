// The one-key sweep in a real browser, on each database: all are asked, the silent ones are named and
// asked again, and nothing that was known before looks like an answer.
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import { BOUND, databases, startDemo, until } from './hub.mjs'
import { DESK, PHONE, Stage, barriers, launch } from './browser.mjs'
import { speak } from './pages.mjs'
import { step } from './step.mjs'

const out = fileURLToPath(new URL('out/', import.meta.url))
/** Never answers; is silent only at first. */
const [DEAF, SLEEPER] = ['jz-h-0173', 'jz-h-0042']
const HYDRANTS = 420

const over = (page) => page.locator('[data-testid="sweep-state"]:not([data-state="running"])').waitFor({ timeout: BOUND })
const count = async (page, verdict) => Number((await page.getByTestId(`sweep-${verdict}`).locator('strong').innerText()).trim())
const at = (page) => new URL(page.url()).pathname
const codes = (page) => page.getByTestId('sweep-row').evaluateAll((rows) => rows.map((row) => row.dataset.thing))
const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

function sweeps(world) {
  step(world, 'one button asks every hydrant, and shows the answers as they come', async () => {
    const { stage, hub } = world
    const page = world.page = await stage.enter(hub, 'property', DESK, { path: '/sweeps' })
    // Every hydrant was heard once: what was last known is known.
    await until(async () => (await hub.city()).counts.acked >= HYDRANTS, 'every hydrant has sent a sample')
    await page.getByTestId('empty').first().waitFor()
    await page.locator('[data-testid="sweep-start"]:enabled').waitFor()
    assert.match(await page.getByTestId('sweep-start').innerText(), /420/)
    assert.deepEqual(await barriers(page), [])
    await hub.fault('silent', DEAF, { duration: '10m' })
    await hub.fault('silent', SLEEPER, { duration: '14s' })
    world.asleep = Date.now()
    await page.getByTestId('sweep-start').click()
    await page.waitForURL('**/sweeps/*')
    world.first = at(page)
    // While it runs: some have answered, some are waited for.
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll('[data-testid="sweep-row"]')]
      return rows.some((row) => row.dataset.verdict === 'ok') && rows.some((row) => row.dataset.verdict === 'open')
    })
    assert.equal(await page.getByTestId('sweep-state').getAttribute('data-state'), 'running')
    assert.deepEqual(await barriers(page), [])
    await stage.shot(page, 'sweep-running')
  })

  step(world, 'it ends, and who is silent is named with since when', async () => {
    const { stage, page } = world
    await over(page)
    await until(async () => (await count(page, 'open')) === 0, 'nobody is open')
    assert.equal(await count(page, 'silent'), 2)
    assert.equal((await count(page, 'ok')) + (await count(page, 'low')), HYDRANTS - 2)
    await page.getByTestId('sweep-silent').click()
    await until(async () => (await codes(page)).length === 2, 'the list shows the silent ones')
    assert.deepEqual((await codes(page)).sort(), [SLEEPER, DEAF].sort())
    const row = page.locator(`[data-testid="sweep-row"][data-thing="${DEAF}"]`)
    assert.match(await row.getByTestId('sweep-since').innerText(), /自 .*\d\d:\d\d 起没有数据/)
    // What was last known stands in its own place and says what it is; no value of now is shown.
    assert.match(await row.locator('.last').innerText(), /上次/)
    assert.equal(await row.locator('.now strong').count(), 0)
    assert.deepEqual(await barriers(page), [])
    await stage.shot(page, 'sweep-silent', { fullPage: true })
    // It is a record: loaded anew it is the same.
    await page.reload()
    await until(async () => (await codes(page)).length === 2, 'the record is there')
    const csv = await page.request.get(await page.getByTestId('sweep-csv').getAttribute('href'))
    const bytes = await csv.body()
    assert.equal(bytes.subarray(0, 3).toString('hex'), 'efbbbf', 'a spreadsheet is told that it is UTF-8')
    const lines = bytes.subarray(3).toString('utf8').trim().split('\r\n')
    assert.equal(lines.length, 3, 'headings and the two that are chosen')
    assert.ok(lines[0].startsWith('对象,名称,位置,结论'), lines[0])
    const deaf = lines.find((line) => line.startsWith(`${DEAF},`))
    assert.ok(deaf?.includes('无应答'), lines.join(' / '))
  })

  step(world, 'the silent ones are asked again, and the two sweeps stand side by side', async () => {
    const { stage, page } = world
    await until(() => Date.now() > world.asleep + 14_500, 'one of them has woken up')
    await page.getByTestId('sweep-repeat').click()
    await page.waitForURL((url) => url.pathname !== world.first && url.pathname.startsWith('/sweeps/'))
    await over(page)
    await until(async () => (await count(page, 'silent')) === 1, 'one is still silent')
    assert.equal((await count(page, 'ok')) + (await count(page, 'low')), 1)
    await page.getByTestId('sweep-compare').click()
    const beside = page.getByTestId('sweep-comparison')
    await beside.locator('h2').waitFor()
    assert.ok((await beside.innerText()).includes(SLEEPER))
    assert.ok(!(await beside.innerText()).includes(DEAF), 'who stands as before is left out')
    assert.deepEqual(await barriers(page), [])
    await stage.shot(page, 'sweep-compared', { fullPage: true })
    await page.emulateMedia({ media: 'print' })
    assert.equal(await page.getByTestId('sweep-repeat').isVisible(), false, 'paper has no buttons')
    assert.equal(await page.getByTestId('sweep-row').first().isVisible(), true)
    await stage.shot(page, 'sweep-print', { fullPage: true })
    await page.emulateMedia({ media: null })
  })

  step(world, 'a sweep is stopped, and one is scheduled', async () => {
    const { stage, page } = world
    await page.goto('/sweeps')
    await page.getByTestId('sweep-start').click()
    await page.waitForURL('**/sweeps/*')
    await page.getByTestId('sweep-stop').click()
    await page.locator('[data-testid="sweep-state"][data-state="stopped"]').waitFor()
    await page.goto('/sweeps')
    await page.getByTestId('sweep-record').first().waitFor()
    assert.equal(await page.getByTestId('sweep-record').count(), 3)
    await page.getByTestId('sweep-at').fill('07:30')
    await page.getByTestId('sweep-keep').click()
    const schedule = page.getByTestId('sweep-schedule')
    await schedule.waitFor()
    assert.match(await schedule.innerText(), /07:30/)
    await stage.shot(page, 'sweeps', { fullPage: true })
    assert.deepEqual(await barriers(page), [])
    await schedule.getByRole('button').click()
    await schedule.waitFor({ state: 'detached' })
  })

  step(world, 'it fits a phone, and speaks English', async () => {
    const { stage, hub } = world
    const page = await stage.enter(hub, 'community', PHONE, { path: '/sweeps' })
    await page.getByTestId('sweep-record').first().waitFor()
    assert.ok((await wide(page)) <= 0, 'the list is no wider than the phone')
    await page.goto(world.first)
    await page.getByTestId('sweep-row').first().waitFor()
    assert.ok((await wide(page)) <= 0, 'the sweep is no wider than the phone')
    assert.deepEqual(await barriers(page), [])
    await stage.shot(page, 'sweep-phone')
    await speak(page, 'en')
    await page.getByTestId('sweep-state').filter({ hasText: 'Ended' }).waitFor()
    await stage.shot(page, 'sweep-phone-en')
    stage.clean()
  })
}

for (const database of databases()) {
  describe(`sweeps on ${database.name}`, () => {
    const world = {}
    before(async () => {
      rmSync(`${out}sweep-${database.name}`, { recursive: true, force: true })
      world.browser = await launch()
      world.hub = await startDemo(database)
      world.stage = new Stage(world.browser, world.hub.base, `${out}sweep-${database.name}`)
    })
    sweeps(world)
    after(async () => {
      try {
        await world.hub?.stop()
      } finally {
        await world.browser?.close()
      }
    })
  })
}
