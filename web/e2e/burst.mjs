// A riser bursts and is worked to its close: on the map, on the phones, on the alert's page.
import assert from 'node:assert/strict'
import { until } from './hub.mjs'
import { DESK, PHONE, frames, mapDrawn, photo } from './browser.mjs'
import { step } from './step.mjs'

const RISER = 'riser-03-1'

/** The open task of a case's step in a person's list; found as it comes, without a reload. */
export const row = (page, element, text = '') => page.locator(`[data-testid="task-row"][data-element="${element}"]`).filter({ hasText: text })

/** Says when a page was loaded anew: what must not be needed to see what is new. */
async function markLoad(page) {
  await page.evaluate(() => (globalThis.sameLoad = true))
}
async function sameLoad(page) {
  assert.equal(await page.evaluate(() => globalThis.sameLoad === true), true, `${page.who}'s page was loaded anew`)
}

async function submit(page, value) {
  await page.getByTestId(`task-submit-${value}`).click()
  await page.waitForURL('**/tasks')
  await page.getByTestId('flash').waitFor()
}

/** The step whose token the diagram shows; '' when the process has ended. */
const tokenAt = (page, step) => page.waitForFunction((wanted) => document.querySelector('[data-testid="diagram"] [data-tokens]')?.getAttribute('data-tokens') === wanted, step)

export function burst(world) {
  step(world, 'a burst is signed, verified, repaired with a photo, checked and closed', async (t) => {
    const { stage, hub } = world
    const street = await stage.enter(hub, 'street', DESK)
    assert.equal(new URL(street.url()).pathname, '/situation', 'an officer at a desk starts at the map')
    await mapDrawn(street)
    assert.equal(await street.getByTestId('alert-count').innerText(), '0')
    await street.getByTestId('empty').waitFor()
    await stage.shot(street, 'situation-calm')

    const property = await stage.enter(hub, 'property', PHONE)
    assert.equal(new URL(property.url()).pathname, '/tasks', 'whoever is on duty starts, on a phone, at their tasks')
    const community = await stage.enter(hub, 'community', PHONE)
    const resident = await stage.enter(hub, 'resident', PHONE)
    assert.equal(new URL(resident.url()).pathname, '/building')
    for (const page of [property, community, resident]) await page.getByTestId('empty').waitFor()
    await stage.shot(property, 'tasks-none')
    await stage.shot(resident, 'building-calm')
    for (const page of [street, property, community, resident]) await markLoad(page)

    // ---- it bursts: map, phone and notice, all by themselves
    const began = performance.now()
    await hub.fault('burst', RISER)
    const seen = (what) => () => t.diagnostic(`${what} ${Math.round(performance.now() - began)} ms after the burst`)
    await Promise.all([
      street.getByTestId('alert-row').first().waitFor().then(seen('on the map page')),
      row(property, 'sign').waitFor().then(seen('on the phone')),
      resident.locator('[data-testid="notice-card"][data-state="current"]').waitFor().then(seen('at the resident\'s')),
    ])
    assert.equal(await row(property, 'sign').count(), 1, 'one burst is one task')
    const number = (await row(property, 'sign').locator('.case').innerText()).trim()
    assert.match(number, /^\d{4}-\d{4}-\d+$/)
    assert.match(await row(property, 'sign').innerText(), /3 ?栋/)
    await stage.shot(property, 'tasks-sign')
    const notice = resident.locator('[data-testid="notice-card"][data-state="current"]')
    assert.match(await notice.innerText(), /119/)
    await stage.shot(resident, 'building-notice', { fullPage: true })

    // ---- signed on the phone
    await row(property, 'sign', number).click()
    await property.getByTestId('escalates').waitFor()
    await stage.shot(property, 'task-sign')
    await submit(property, 'accepted')
    await sameLoad(property)
    // Ten hydrants hang on the riser and fall one after the other: ten alerts, one case, one signature.
    await street.waitForFunction(() => document.querySelectorAll('[data-testid="alert-row"]').length === 10)
    await until(async () => (await street.getByTestId('alert-count').innerText()) === '10', 'the list counts ten alerts')
    await until(async () => (await street.getByTestId('unacknowledged').innerText()) === '0', 'those that fell after the signature are acknowledged too')
    assert.equal(await property.getByTestId('task-row').count(), 1)
    await sameLoad(street)
    await frames(street, 6)
    await stage.shot(street, 'situation-burst')

    // ---- the officer opens the alert by keyboard and leaves the page open
    await street.keyboard.press('j')
    await street.getByTestId('thing-panel').waitFor()
    await frames(street, 6)
    await stage.shot(street, 'situation-selected')
    await street.keyboard.press('Enter')
    await street.waitForURL('**/alerts/*')
    await tokenAt(street, 'verify')
    await street.getByTestId('curve').waitFor()
    assert.match(await street.getByTestId('who').innerText(), /核实/)
    await stage.shot(street, 'alert-verify', { fullPage: true })

    // ---- verified, and repaired with a photo
    await row(property, 'verify', number).click()
    await property.getByTestId('field-note').fill('3 栋 1 单元立管底部漏水，压力表 0.09 兆帕')
    await stage.shot(property, 'task-verify', { fullPage: true })
    await submit(property, 'real')
    await tokenAt(street, 'repair')
    await row(property, 'repair', number).click()
    // Without cause and photo the phone says what is missing, and sends nothing.
    await property.getByTestId('task-submit-done').click()
    await property.locator('[aria-invalid="true"]').first().waitFor()
    await stage.shot(property, 'task-repair-missing', { fullPage: true })
    await property.getByTestId('field-cause').selectOption('burst-pipe')
    await property.getByTestId('field-note').fill('更换 2 米立管，已试压')
    await property.getByTestId('photo-input').setInputFiles(await photo(stage.browser))
    await property.locator('[data-testid="photo"] [data-sent="true"]').waitFor()
    await stage.shot(property, 'task-repair', { fullPage: true })
    await submit(property, 'done')
    await stage.shot(property, 'tasks-repaired')

    // ---- the device is asked, the pressure comes back, the community checks
    await tokenAt(street, 'check')
    await street.locator('[data-testid="alert-state"][data-state="resolved"]').waitFor()
    await stage.shot(street, 'alert-check', { fullPage: true })
    await row(community, 'check', number).click()
    await community.getByTestId('field-note').fill('现场复测 0.41 兆帕')
    await stage.shot(community, 'task-check', { fullPage: true })
    await submit(community, 'pass')
    await sameLoad(community)
    // ---- handed over within the post, and closed by the colleague
    await row(property, 'close', number).click()
    await property.getByTestId('handover').click()
    await property.getByTestId('handover-sheet').getByLabel('李梅').check()
    await property.getByTestId('handover-note').fill('我去开会，请你结案')
    await stage.shot(property, 'task-handover')
    await property.getByTestId('handover-submit').click()
    await property.waitForURL('**/tasks')
    await property.getByTestId('flash').waitFor()
    const colleague = await stage.enter(hub, 'property2', PHONE)
    await row(colleague, 'close', number).click()
    await colleague.getByTestId('field-summary').fill('立管老化爆裂，已更换并复测合格')
    await stage.shot(colleague, 'task-close', { fullPage: true })
    await submit(colleague, 'closed')
    await property.getByTestId('tab-done').click()
    await row(property, 'close', number).waitFor()
    assert.equal(await property.getByTestId('task-row').filter({ hasText: number }).count(), 4)
    await stage.shot(property, 'tasks-done', { fullPage: true })

    // ---- the alert's page, never loaded anew, tells the whole story
    await tokenAt(street, '')
    const story = street.getByTestId('timeline')
    await story.locator('[data-kind="case.closed"]').waitFor()
    const kinds = await story.locator('> li').evaluateAll((items) => items.map((item) => item.dataset.kind))
    for (const kind of ['opened', 'case.opened', 'task.opened', 'acknowledged', 'task.handed-over', 'task.completed', 'resolved', 'notice.sent', 'case.closed']) assert.ok(kinds.includes(kind), `${kind} is missing from the story: ${kinds.join(' ')}`)
    assert.equal(kinds.filter((kind) => kind === 'task.completed').length, 5)
    const told = await story.innerText()
    for (const word of ['王强', '陈静', '李梅', '我去开会', '现场复测 0.41 兆帕', '立管老化爆裂']) assert.ok(told.includes(word), `“${word}” is missing from the story`)
    for (const element of ['sign', 'verify', 'repair', 'check', 'close']) assert.equal(await street.locator(`[data-testid="diagram"] .djs-element.passed[data-element-id="${element}"]`).count(), 1, `${element} is drawn as passed`)
    const thumb = story.getByTestId('timeline-photo')
    await thumb.scrollIntoViewIfNeeded()
    const loaded = (image) => image.evaluate((node) => node.complete && node.naturalWidth > 0)
    await until(() => loaded(thumb.locator('img')), 'the thumbnail is loaded')
    await street.evaluate(() => scrollTo(0, 0))
    await stage.shot(street, 'alert-closed', { fullPage: true })
    await thumb.click()
    const viewer = street.getByTestId('photo-viewer')
    await until(() => loaded(viewer.locator('img')), 'the photo opens')
    await stage.shot(street, 'alert-photo')
    await street.keyboard.press('Escape')
    await viewer.waitFor({ state: 'detached' })
    await sameLoad(street)

    // ---- and the resident reads that it is over
    await resident.locator('[data-testid="notice-card"][data-state="ended"]').waitFor()
    await resident.getByTestId('empty').waitFor()
    await sameLoad(resident)
    await stage.shot(resident, 'building-ended', { fullPage: true })
    const alert = new URL(street.url()).pathname
    await street.getByRole('navigation').getByRole('link', { name: '一张图' }).click()
    await mapDrawn(street)
    assert.equal(await street.getByTestId('alert-count').innerText(), '0')
    Object.assign(world, { street, property, community, resident, closed: { number, alert } })
    stage.clean()
  })
}
