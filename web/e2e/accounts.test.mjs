// An account's life in a real browser: invited, password, grant, second factor, ended by the
// administrator while a page is open.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { rmSync } from 'node:fs'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import { databases, startDemo, until } from './hub.mjs'
import { DESK, PHONE, Stage, barriers, launch } from './browser.mjs'
import { step } from './step.mjs'

const out = fileURLToPath(new URL('out/', import.meta.url))
const PASSWORD = 'correct horse battery'

/** What an authenticator app shows (RFC 6238), `steps` from now. */
function totp(secret, steps = 0) {
  const bits = [...secret.replace(/\s/g, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps))
  const mac = createHmac('sha1', key).update(counter).digest()
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

async function noBarrier(page, what) {
  assert.deepEqual(await barriers(page), [], what)
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.equal(wide <= 0, true, `${what} is ${wide} px wider than the screen`)
}

for (const database of databases()) {
  describe(`accounts on ${database.name}`, () => {
    const world = {}
    before(async () => {
      const folder = `${out}accounts-${database.name}`
      rmSync(folder, { recursive: true, force: true })
      world.browser = await launch()
      world.hub = await startDemo(database)
      world.stage = new Stage(world.browser, world.hub.base, folder)
    })

    step(world, 'the system administrator invites a person, and a link is shown once', async () => {
      const { stage, hub } = world
      const page = await stage.enter(hub, 'system', DESK)
      await page.waitForURL('**/admin/people')
      await page.getByTestId('person-row').first().waitFor()
      await noBarrier(page, 'the list of people')
      await page.getByTestId('people-search').fill('王强')
      await until(async () => (await page.getByTestId('person-row').count()) === 1, 'the search finds one')
      await page.getByTestId('people-search').fill('')
      await page.getByTestId('invite').click()
      await page.getByTestId('invite-submit').click()
      await until(async () => (await page.getByTestId('invite-form').innerText()).includes('请填写姓名'), 'what is missing is said')
      await page.getByTestId('invite-name').fill('孙丽')
      await page.getByTestId('invite-login').fill('sunli')
      await noBarrier(page, 'the invitation')
      await page.getByTestId('invite-submit').click()
      world.link = await page.getByTestId('account-link-shown').innerText()
      assert.match(world.link, /\/welcome#[\w-]{43}$/)
      await stage.shot(page, 'invited')
      await page.getByTestId('link-close').click()
      await page.locator('[data-testid="person-row"][data-login="sunli"]').waitFor()
      await page.locator('[data-testid="person-row"][data-login="sunli"]').click()
      await page.getByTestId('set-phone').click()
      await page.getByTestId('personal-text').fill('138 0000 1234')
      await page.getByTestId('personal-submit').click()
      await until(async () => (await page.getByTestId('personal-phone').innerText()) === '138****1234', 'the number is masked')
      await page.getByTestId('reveal-phone').click()
      await page.getByTestId('personal-text').fill('核实本人')
      await noBarrier(page, 'the reason')
      await page.getByTestId('personal-submit').click()
      await until(async () => (await page.getByTestId('personal-phone').innerText()) === '13800001234', 'the number is shown')
      await page.goto('/admin/people')
      world.system = page
      stage.clean()
    })

    step(world, 'the security administrator gives a role, which the system administrator cannot', async () => {
      const { stage, hub, system } = world
      await system.locator('[data-testid="person-row"][data-login="sunli"]').click()
      await system.getByTestId('invite-again').waitFor()
      assert.equal(await system.getByTestId('give-grant').count(), 0)
      const page = await stage.enter(hub, 'security', DESK)
      await page.locator('[data-testid="person-row"][data-login="sunli"]').click()
      await page.getByTestId('give-grant').click()
      await page.getByTestId('give-what').selectOption('property-manager')
      await noBarrier(page, 'giving a role')
      await page.getByTestId('give-submit').click()
      await page.getByTestId('grant-row').waitFor()
      await noBarrier(page, 'a person')
      assert.equal(await page.getByTestId('disable').count(), 0)
      await stage.shot(page, 'person')
      world.security = page
      stage.clean()
    })

    step(world, 'the link sets the password, on a phone, once', async () => {
      const { stage, link } = world
      const page = await stage.open('sunli', PHONE)
      await page.goto(link)
      await page.getByTestId('password-form').waitFor()
      await noBarrier(page, 'the welcome')
      await page.getByTestId('password-new').fill('short')
      await page.getByTestId('password-again').fill('short')
      await page.getByTestId('password-submit').click()
      await until(async () => (await page.getByTestId('password-form').innerText()).includes('至少 10 个字符\n'), 'a short one is refused with words')
      await page.getByTestId('password-new').fill(PASSWORD)
      await page.getByTestId('password-again').fill(PASSWORD)
      await page.getByTestId('password-submit').click()
      await page.getByTestId('login-set').waitFor()
      assert.equal(await page.getByTestId('login-user').inputValue(), 'sunli')
      await page.getByTestId('login-password').fill(PASSWORD)
      await page.getByTestId('login-submit').click()
      await page.waitForURL((url) => url.pathname !== '/login')
      const second = await stage.open('sunli again', PHONE)
      await stage.during(/status of 409/, async () => {
        await second.goto(link)
        await second.getByTestId('link-void').waitFor()
      })
      await noBarrier(second, 'a link that is void')
      await stage.leave(second)
      world.phone = page
      stage.clean()
    })

    step(world, 'a second factor is set up, and asked for at the next log-in', async () => {
      const { stage, phone } = world
      await phone.goto('/account')
      await phone.getByTestId('factor-start').click()
      await phone.getByTestId('factor-password').fill(PASSWORD)
      await phone.getByTestId('factor-begin').click()
      const secret = await phone.getByTestId('factor-secret').innerText()
      await noBarrier(phone, 'setting up a second factor')
      await stage.shot(phone, 'second-factor')
      await phone.getByTestId('factor-code').fill(totp(secret))
      await phone.getByTestId('factor-confirm').click()
      await phone.getByTestId('recovery-codes').waitFor()
      assert.equal(await phone.getByTestId('recovery-codes').locator('li').count(), 10)
      await noBarrier(phone, 'recovery codes')
      await phone.getByTestId('recovery-kept').check()
      await phone.getByTestId('factor-done').click()
      await phone.getByTestId('factor-remove').waitFor()
      await noBarrier(phone, 'my account')
      await stage.shot(phone, 'account', { fullPage: true })
      await phone.getByTestId('logout').click()
      await phone.waitForURL('**/login')

      await stage.during(/status of 401/, async () => {
        await phone.getByTestId('login-user').fill('sunli')
        await phone.getByTestId('login-password').fill(PASSWORD)
        await phone.getByTestId('login-submit').click()
        await phone.getByTestId('login-code').fill('000000')
        await noBarrier(phone, 'the log-in that asks for a code')
        await phone.getByTestId('login-submit').click()
        await until(async () => (await phone.getByTestId('login-error').innerText()).includes('验证码不正确'), 'a wrong code is told')
        // The next step's: the present one was used to set it up.
        await phone.getByTestId('login-code').fill(totp(secret, 1))
        await phone.getByTestId('login-submit').click()
        await phone.waitForURL((url) => url.pathname !== '/login')
      })
      stage.clean()
    })

    step(world, 'the security administrator ends the session, and the open page goes to the log-in', async () => {
      const { stage, phone, security } = world
      await phone.goto('/tasks')
      await phone.getByTestId('tab-open').waitFor()
      await security.reload()
      await security.getByTestId('session-row').waitFor()
      await noBarrier(security, 'a person with sessions')
      await stage.during(/status of 401/, async () => {
        await security.getByTestId('session-end').click()
        const began = Date.now()
        await phone.waitForURL((url) => url.pathname === '/login' && url.searchParams.get('return') === '/tasks')
        assert.ok(Date.now() - began < 5_000, `after ${Date.now() - began} ms`)
        await phone.getByTestId('login-expired').waitFor()
      })
      await stage.shot(phone, 'ended')
      stage.clean()
    })

    step(world, 'a disabled account does not log in', async () => {
      const { stage, phone, system } = world
      await system.reload()
      await system.getByTestId('disable').click()
      await noBarrier(system, 'the question before disabling')
      await system.getByTestId('sure').click()
      await until(async () => (await system.getByTestId('person-state').innerText()) === '已停用', 'the state is shown')
      await stage.during(/status of 401/, async () => {
        await phone.getByTestId('login-user').fill('sunli')
        await phone.getByTestId('login-password').fill(PASSWORD)
        await phone.getByTestId('login-submit').click()
        await until(async () => (await phone.getByTestId('login-error').innerText()) === '账号或密码不正确。', 'it is told like a wrong password')
      })
      stage.clean()
    })

    step(world, 'the auditor finds all of it, and nothing else', async () => {
      const { stage, hub } = world
      const page = await stage.enter(hub, 'auditor', DESK)
      await page.waitForURL('**/audit')
      await page.getByTestId('audit-who').fill('孙丽')
      await page.getByTestId('audit-search').click()
      await page.locator('[data-testid="audit-row"][data-action="second-factor:confirm"]').waitFor()
      const actions = await page.getByTestId('audit-row').evaluateAll((rows) => rows.map((row) => row.dataset.action))
      assert.deepEqual([...new Set(actions)].sort(), ['password:set', 'second-factor:begin', 'second-factor:confirm', 'session:close', 'session:open'])
      await page.getByTestId('audit-row').first().locator('summary').click()
      await noBarrier(page, 'the audit')
      await stage.shot(page, 'audit')
      const download = page.waitForEvent('download')
      await page.getByTestId('audit-csv').click()
      assert.equal((await download).suggestedFilename(), 'audit.csv')
      await page.goto('/admin/people')
      await page.waitForURL('**/403')
      stage.clean()
    })

    after(async () => {
      try {
        await world.stage?.close()
        await world.hub?.stop()
      } finally {
        await world.browser?.close()
      }
    })
  })
}
