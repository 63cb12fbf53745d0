// Takes pictures of the pages served by dev/mock.mjs, in both languages: node dev/shots.mjs OUT [name…]
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const base = process.env.BASE ?? 'http://127.0.0.1:8090'
const out = process.argv[2] ?? '/tmp/shots'
const only = process.argv.slice(3)
mkdirSync(out, { recursive: true })
const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist']
const DESK = { width: 1920, height: 1080 }
const PHONE = { width: 390, height: 844 }
const problems = []

async function browse(language, viewport, who, work) {
  const profile = mkdtempSync(join(tmpdir(), 'zs-'))
  const phone = viewport.width < 500
  const context = await chromium.launchPersistentContext(profile, { executablePath: '/usr/bin/chromium', args: FLAGS, headless: true, viewport, locale: language, timezoneId: 'Asia/Shanghai', ...(phone ? { deviceScaleFactor: 2, hasTouch: true } : {}) })
  const page = context.pages()[0] ?? (await context.newPage())
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !/GPU stall|favicon|status of (401|503)/.test(message.text())) problems.push(`${who} ${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => problems.push(`${who} page error: ${error.message}`))
  try {
    if (who) {
      await page.goto(`${base}/login`)
      await page.getByTestId('login-user').fill(who)
      await page.getByTestId('login-password').fill('y')
      await page.getByTestId('login-submit').click()
      await page.waitForURL((url) => url.pathname !== '/login')
    }
    await work(page, context)
  } catch (error) {
    problems.push(`${who} ${language}: ${error.message}`)
    await page.screenshot({ path: join(out, `failed-${language}.png`) })
  } finally {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  }
}
const settled = async (page) => {
  await page.waitForFunction(() => document.querySelector('[data-testid="map"]')?.getAttribute('data-idle') === 'true', null, { timeout: 30_000 })
  await page.waitForTimeout(800)
}
const shot = (page, name, more = {}) => page.screenshot({ path: join(out, `${name}.png`), ...more })

const jobs = {
  login: (lang) => browse(lang, DESK, '', async (page) => {
    await page.goto(`${base}/tasks`)
    await page.getByTestId('login-user').fill('officer')
    await page.getByTestId('login-password').fill('x')
    await page.getByTestId('login-submit').click()
    await page.waitForTimeout(400)
    await shot(page, `login-${lang}`)
  }),
  situation: (lang) => browse(lang, DESK, 'officer', async (page) => {
    await settled(page)
    await shot(page, `situation-${lang}`)
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    await page.waitForTimeout(900)
    await shot(page, `situation-selected-${lang}`)
    await page.goto(`${base}/situation?wall=1`)
    await settled(page)
    await shot(page, `wall-${lang}`)
  }),
  wall4k: (lang) => browse(lang, { width: 3840, height: 2160 }, 'officer', async (page) => {
    await page.goto(`${base}/situation?wall=1`)
    await settled(page)
    await shot(page, `wall4k-${lang}`)
  }),
  dialogs: (lang) => browse(lang, { width: 1440, height: 900 }, 'officer', async (page) => {
    await settled(page)
    await shot(page, `desk-${lang}`)
    await page.keyboard.press('?')
    await page.waitForTimeout(500)
    await shot(page, `help-${lang}`)
    await page.keyboard.press('Escape')
    await page.getByTestId('area-choose').click()
    await page.waitForTimeout(700)
    await shot(page, `areas-${lang}`)
  }),
  lost: (lang) => browse(lang, DESK, 'officer', async (page) => {
    await settled(page)
    await fetch(`${base}/mock/alert`, { method: 'POST' })
    await page.waitForTimeout(2500)
    await fetch(`${base}/mock/drop`, { method: 'POST' })
    await page.waitForTimeout(1500)
    await shot(page, `lost-${lang}`)
  }),
  alert: (lang) => browse(lang, { width: 1440, height: 900 }, 'officer', async (page) => {
    await page.goto(`${base}/alerts/2026-1124-0001`)
    await page.getByTestId('diagram').waitFor()
    await page.waitForTimeout(1500)
    await shot(page, `alert-${lang}`, { fullPage: true })
    await page.getByTestId('timeline-photo').first().click()
    await page.waitForTimeout(500)
    await shot(page, `photo-${lang}`)
  }),
  alertphone: (lang) => browse(lang, PHONE, 'property', async (page) => {
    await page.goto(`${base}/alerts/2026-1124-0001`)
    await page.getByTestId('diagram').waitFor()
    await page.waitForTimeout(1500)
    await shot(page, `alert-phone-${lang}`, { fullPage: true })
  }),
  tasks: (lang) => browse(lang, PHONE, 'property', async (page, context) => {
    await page.getByTestId('task-row').first().waitFor()
    await shot(page, `tasks-${lang}`)
    await page.locator('[data-element="repair"]').first().click()
    await page.getByTestId('photo-input').waitFor({ state: 'attached' })
    await page.getByTestId('task-submit-done').click()
    await page.waitForTimeout(300)
    await shot(page, `task-faults-${lang}`)
    await page.locator('[data-testid="field-cause"]').selectOption({ index: 1 })
    await context.setOffline(true)
    await page.getByTestId('photo-input').setInputFiles('/work/shared/design/look-task.png')
    await page.waitForTimeout(1200)
    await shot(page, `task-${lang}`, { fullPage: true })
    await page.getByTestId('task-submit-done').click()
    await page.waitForTimeout(1500)
    await shot(page, `tasks-queued-${lang}`)
    await context.setOffline(false)
    await page.waitForTimeout(2500)
    await shot(page, `tasks-sent-${lang}`)
    await page.locator('[data-element="verify"]').first().click()
    await page.getByTestId('handover').click()
    await page.waitForTimeout(500)
    await shot(page, `handover-${lang}`)
  }),
  building: (lang) => browse(lang, PHONE, 'resident', async (page) => {
    await page.getByTestId('notice-card').first().waitFor()
    await shot(page, `building-${lang}`)
  }),
  recovers: (lang) => browse(lang, DESK, 'officer', async (page) => {
    await settled(page)
    await page.getByRole('button', { name: lang === 'en' ? /View data table/ : /查看数据表/ }).click()
    await page.waitForTimeout(600)
    await shot(page, `table-${lang}`)
    await page.keyboard.press('Escape')
    await fetch(`${base}/mock/drop`, { method: 'POST' })
    await page.getByTestId('connection-lost').waitFor()
    await fetch(`${base}/mock/alert`, { method: 'POST' })
    await page.getByTestId('connection-lost').waitFor({ state: 'detached', timeout: 30_000 })
    await page.getByTestId('filter-red').click()
    await page.waitForTimeout(1200)
    console.log(lang, 'reds', await page.getByTestId('alert-row').count(), 'live again')
    await page.goto(`${base}/login?expired=1`)
    await page.getByTestId('login-user').fill('officer')
    await page.getByTestId('login-password').fill('slow')
    await page.getByTestId('login-submit').click()
    await page.waitForTimeout(1500)
    console.log(lang, await page.getByTestId('login-error').textContent())
  }),
  phone: (lang) => browse(lang, PHONE, 'officer', async (page) => {
    await settled(page)
    await shot(page, `situation-phone-${lang}`, { fullPage: true })
  }),
  desktasks: (lang) => browse(lang, { width: 1440, height: 900 }, 'property', async (page) => {
    await page.goto(`${base}/tasks`)
    await page.getByTestId('task-row').first().waitFor()
    await shot(page, `tasks-desk-${lang}`)
  }),
  expired: (lang) => browse(lang, PHONE, 'property', async (page, context) => {
    await page.getByTestId('task-row').first().waitFor()
    await context.clearCookies()
    await page.getByTestId('tab-done').click()
    await page.waitForURL((url) => url.pathname === '/login')
    await page.waitForTimeout(500)
    await shot(page, `expired-${lang}`)
    await page.getByTestId('login-user').fill('property')
    await page.getByTestId('login-password').fill('y')
    await page.getByTestId('login-submit').click()
    await page.waitForURL((url) => url.pathname === '/tasks')
    await page.waitForTimeout(500)
    await shot(page, `returned-${lang}`)
  }),
  taken: (lang) => browse(lang, PHONE, 'property', async (page, context) => {
    await page.locator('[data-element="sign"]').first().click()
    await page.getByTestId('task-submit-accepted').or(page.getByTestId('task-submit-done')).waitFor()
    await shot(page, `sign-${lang}`)
    await context.setOffline(true)
    await page.getByTestId('task-submit-accepted').click()
    await page.waitForURL((url) => url.pathname === '/tasks')
    await fetch(`${base}/mock/taken`, { method: 'POST' })
    await context.setOffline(false)
    await page.getByTestId('outbox-refused').waitFor()
    await shot(page, `taken-${lang}`)
  }),
  fail: (lang) => browse(lang, PHONE, 'resident', async (page) => {
    await fetch(`${base}/mock/fail?on=1`, { method: 'POST' })
    await page.goto(`${base}/building`)
    await page.waitForTimeout(3500)
    await shot(page, `fail-${lang}`)
    await fetch(`${base}/mock/fail?on=0`, { method: 'POST' })
  }),
}
for (const [name, job] of Object.entries(jobs)) {
  if (only.length > 0 && !only.includes(name)) continue
  for (const language of (process.env.LANGS ?? 'zh-CN,en').split(',')) await job(language)
}
console.log(problems.length > 0 ? problems.join('\n') : 'no console errors')
