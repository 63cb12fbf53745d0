// What goes wrong for people: a wrong password, a line that breaks, a phone without a network.
import assert from 'node:assert/strict'
import { until } from './hub.mjs'
import { DESK, PHONE, mapDrawn, photo } from './browser.mjs'
import { row } from './burst.mjs'
import { openLine } from './line.mjs'
import { step } from './step.mjs'

export function failures(world) {
  step(world, 'a wrong password is told in one sentence, and lets nobody in', async () => {
    const { stage } = world
    const page = await stage.open('nobody', PHONE)
    await stage.during(/status of 401/, async () => {
      await page.goto('/tasks')
      await page.getByTestId('login-user').fill('property')
      await page.getByTestId('login-password').fill('not-the-password')
      await page.getByTestId('login-submit').click()
      await until(async () => (await page.getByTestId('login-error').innerText()) === '账号或密码不正确。', 'the page says that they do not match')
    })
    assert.equal(new URL(page.url()).pathname, '/login')
    assert.equal(await page.getByTestId('login-password').evaluate((field) => document.activeElement === field && field.value === ''), true, 'one types the password again at once')
    await stage.shot(page, 'login-wrong')
    await stage.leave(page)
    stage.clean()
  })

  step(world, 'what lies outside one\'s role is refused with words', async () => {
    const { stage, resident } = world
    await resident.goto('/situation')
    await resident.waitForURL('**/403')
    await stage.shot(resident, 'forbidden')
    await resident.goto('/building')
    stage.clean()
  })

  step(world, 'a page from before an update of the hub finds its way to the new pages', async () => {
    const { stage, hub } = world
    const page = await stage.open('property', PHONE)
    let old = true
    await stage.during(/status of 404|dynamically imported module|Refused to apply style|preload CSS/, async () => {
      await page.goto('/')
      // The new hub does not have the files that the old pages would load next, until they are loaded anew.
      for (const kind of ['js', 'css']) await page.route(`**/assets/TaskPage-*.${kind}`, (route) => (old ? route.fulfill({ status: 404, contentType: 'text/plain', body: 'not found' }) : route.continue()))
      await stage.logIn(page, 'property', hub.password('property'))
      await row(page, 'sign', world.alone).waitFor()
      page.on('request', (request) => {
        if (request.isNavigationRequest()) old = false
      })
      await row(page, 'sign', world.alone).click()
      await page.getByTestId('task-submit-accepted').waitFor()
    })
    assert.equal(old, false, 'the pages were loaded anew')
    assert.match(new URL(page.url()).pathname, /^\/tasks\/./)
    await stage.leave(page)
    stage.clean()
  })

  step(world, 'a line that breaks is told, and what was missed is there when it is mended', async () => {
    const { stage, hub } = world
    const line = await openLine(hub.port)
    try {
      await stage.during(/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_NETWORK|ERR_SOCKET/, async () => {
        const page = await stage.enter(hub, 'street', DESK, { base: line.base })
        await mapDrawn(page)
        await page.getByTestId('connection').getByText('实时').waitFor()
        const before = Number(await page.getByTestId('alert-count').innerText())
        line.cut()
        await page.getByTestId('connection-lost').waitFor()
        await stage.shot(page, 'situation-lost')
        // Meanwhile a riser of building 11 bursts, and nobody here can know.
        await hub.fault('burst', 'riser-11-1')
        await row(world.property, 'sign', /11 ?栋/).waitFor()
        assert.equal(Number(await page.getByTestId('alert-count').innerText()), before)
        line.mend()
        await page.getByTestId('connection-lost').waitFor({ state: 'detached' })
        await until(async () => Number(await page.getByTestId('alert-count').innerText()) > before, 'the alerts that were missed are there')
        await stage.shot(page, 'situation-restored')
        await stage.leave(page)
      })
    } finally {
      await line.close()
    }
    stage.clean()
  })

  step(world, 'a task that was never opened opens without a network, and what cannot be opened is told', async () => {
    const { stage, hub } = world
    const page = await stage.open('property', PHONE)
    const files = page.waitForEvent('requestfinished', (request) => /\/assets\/TaskPage-.*\.js$/.test(request.url()))
    const open = new Set()
    page.on('requestfinished', (request) => open.add(new URL(request.url()).pathname))
    await page.goto('/')
    await stage.logIn(page, 'property', hub.password('property'))
    const mine = row(page, 'sign', world.alone)
    const id = await mine.getAttribute('data-task')
    await files
    await until(() => open.has(`/api/v1/tasks/${id}`), 'the details of the task are fetched ahead')
    await stage.during(/ERR_INTERNET_DISCONNECTED|ERR_NETWORK|dynamically imported module/, async () => {
      await page.context().setOffline(true)
      await page.getByTestId('outbox').waitFor()
      await mine.click()
      await page.getByTestId('task-submit-accepted').waitFor()
      assert.equal(await page.getByTestId('primary-help').innerText(), '签收表示您已知悉并开始处理。')
      assert.equal(await page.getByTestId('load-error').count(), 0)
      await page.getByTestId('task-alert').click()
      await page.getByTestId('trouble').getByText('没有网络').waitFor()
      await stage.shot(page, 'task-offline-first')
      await stage.leave(page)
    })
    stage.clean()
  })

  step(world, 'a form filled in without a network waits on the phone and is sent once', async () => {
    const { stage, property } = world
    const context = property.context()
    const sent = []
    property.on('request', (request) => {
      if (request.method() === 'POST' && /\/complete$/.test(request.url())) sent.push(request)
    })
    await stage.during(/ERR_INTERNET_DISCONNECTED|ERR_NETWORK/, async () => {
      const mine = row(property, 'sign', /11 ?栋/)
      const number = (await mine.locator('.case').innerText()).trim()
      await mine.click()
      await property.getByTestId('task-submit-accepted').click()
      await property.waitForURL('**/tasks')
      await row(property, 'verify', number).click()
      const task = new URL(property.url()).pathname.split('/').at(-1)
      await property.getByTestId('field-note').fill('11 栋地下室阀门处漏水')
      sent.length = 0

      await context.setOffline(true)
      await property.getByTestId('outbox').waitFor()
      await property.getByTestId('photo-input').setInputFiles(await photo(stage.browser))
      // Waiting for a network is no failure.
      await property.getByTestId('photo').getByText('待上传').waitFor()
      assert.equal(await property.getByTestId('photo-retry').count(), 0)
      await stage.shot(property, 'task-offline', { fullPage: true })
      await property.getByTestId('task-submit-real').click()
      await property.getByTestId('outbox').getByText('1 项等待上传').waitFor()
      await stage.shot(property, 'tasks-waiting')
      const tried = sent.length

      await context.setOffline(false)
      await property.getByTestId('outbox').waitFor({ state: 'detached' })
      await row(property, 'repair', number).waitFor()
      await stage.shot(property, 'tasks-sent')
      // A few tries may have met no network; one was answered, and the hub has it once.
      const answered = (await Promise.all(sent.slice(tried).map((request) => request.response()))).filter(Boolean)
      assert.deepEqual(answered.map((response) => response.status()), [200])
      assert.equal(new Set(sent.map((request) => request.headers()['idempotency-key'])).size, 1, 'every try is the same request')
      const story = await (await context.request.get(`/api/v1/cases/${number}`)).json()
      const done = story.timeline.filter((entry) => entry.kind === 'task.completed' && entry.element === 'verify')
      assert.equal(done.length, 1)
      assert.equal(done[0].files.length, 1, 'with its photo')
      assert.equal((await (await context.request.get(`/api/v1/tasks/${task}`)).json()).state, 'completed')
    })
    stage.clean()
  })
}

/** Last of all: the hub ends, and a page that was open says so. */
export function goodbye(world) {
  step(world, 'the hub stops in good order, with pages open', async () => {
    const { stage, hub, street } = world
    await street.goto('/situation')
    await street.getByTestId('connection').getByText('实时').waitFor()
    await mapDrawn(street)
    await stage.during(/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_NETWORK/, async () => {
      const began = performance.now()
      world.stopped = true
      await hub.stop()
      assert.ok(performance.now() - began < 15_000, 'within fifteen seconds')
      await street.getByTestId('connection-lost').waitFor()
      await stage.shot(street, 'situation-hub-gone')
    })
    stage.clean()
  })
}
