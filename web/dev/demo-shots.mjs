// Takes pictures of every page of a running demo as each of its people, in both languages:
// ACCOUNTS=demo-data/accounts.txt BASE=http://127.0.0.1:8080 node dev/demo-shots.mjs OUT [name…]
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const base = process.env.BASE ?? 'http://127.0.0.1:8080'
const accounts = new Map(readFileSync(process.env.ACCOUNTS ?? '../demo-data/accounts.txt', 'utf8').trim().split('\n').map((line) => line.split('\t')))
const out = process.argv[2] ?? '/tmp/shots'
const only = process.argv.slice(3)
mkdirSync(out, { recursive: true })
const DESK = { width: 1920, height: 1080 }
const PHONE = { width: 390, height: 844 }
const problems = []
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'] })

/** One login a person: the hub slows down who tries often. */
const states = new Map()
async function as(who, viewport, language, work) {
  const phone = viewport.width < 500
  const context = await browser.newContext({ baseURL: base, viewport, locale: language, timezoneId: 'Asia/Shanghai', reducedMotion: 'reduce', storageState: states.get(who), ...(phone ? { deviceScaleFactor: 2, hasTouch: true, isMobile: true } : {}) })
  const page = await context.newPage()
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !/GPU stall|status of 401/.test(message.text())) problems.push(`${who} ${page.url()} ${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => problems.push(`${who} ${page.url()}: ${error.stack ?? error.message}`))
  try {
    await page.addInitScript((chosen) => localStorage.setItem('zhongshu.language', chosen), language)
    if (!states.has(who)) {
      await page.goto('/login')
      await page.getByTestId('login-user').fill(who)
      await page.getByTestId('login-password').fill(accounts.get(who))
      await page.getByTestId('login-submit').click()
      await page.waitForURL((url) => url.pathname !== '/login')
      states.set(who, await context.storageState())
    }
    await work(page, (name, more = {}) => page.screenshot({ path: join(out, `${name}-${phone ? 'phone' : 'desk'}-${language}.png`), ...more }))
  } catch (error) {
    problems.push(`${who} ${language} ${page.url()}: ${error.message}`)
    await page.screenshot({ path: join(out, `FAILED-${who}-${language}.png`) })
  } finally {
    await context.close()
  }
}
const drawn = async (page) => {
  await page.waitForFunction(() => document.querySelector('[data-testid="map"]')?.getAttribute('data-idle') === 'true', null, { timeout: 45_000 })
  await page.waitForTimeout(1200)
}
const both = (phone) => (phone ? PHONE : DESK)

const jobs = {
  situation: async (lang) => {
    for (const who of ['property', 'community', 'street', 'district']) await as(who, DESK, lang, async (page, shot) => {
      await page.goto('/situation')
      await drawn(page)
      await shot(`situation-${who}`)
      if (who !== 'property') return
      await page.keyboard.press('j')
      await page.waitForTimeout(1200)
      await shot('situation-selected')
    })
    await as('property', PHONE, lang, async (page, shot) => {
      await page.goto('/situation')
      await drawn(page)
      await shot('situation', { fullPage: true })
    })
  },
  alert: async (lang) => {
    for (const phone of [false, true]) await as('property', both(phone), lang, async (page, shot) => {
      await page.goto('/situation')
      const { items } = await (await page.request.get('/api/v1/alerts?limit=50')).json()
      const two = [items.find(({ place }) => /^3/.test(place.zh)) ?? items[0], items.find(({ place }) => /^11/.test(place.zh)) ?? items[1]]
      for (const [index, { number }] of two.filter(Boolean).entries()) {
        await page.goto(`/alerts/${number}`)
        await page.locator('[data-testid="diagram"] .djs-element').first().waitFor()
        await page.waitForTimeout(1200)
        await shot(`alert-${index}`, { fullPage: true })
      }
    })
  },
  tasks: async (lang) => {
    for (const who of ['property', 'community', 'district']) for (const phone of [true, false]) await as(who, both(phone), lang, async (page, shot) => {
      await page.goto('/tasks')
      await page.waitForTimeout(1500)
      await shot(`tasks-${who}`)
      if (who !== 'property' || !phone) return
      const { items } = await (await page.request.get('/api/v1/tasks?mine=true&state=open')).json()
      const seen = new Set()
      for (const { id, element } of items) {
        if (seen.has(element)) continue
        seen.add(element)
        await page.goto(`/tasks/${id}`)
        await page.waitForTimeout(1500)
        await shot(`task-${element}`, { fullPage: true })
      }
    })
  },
  building: async (lang) => {
    for (const phone of [true, false]) await as('resident', both(phone), lang, async (page, shot) => {
      await page.goto('/building')
      await page.waitForTimeout(1500)
      await shot('building', { fullPage: true })
    })
  },
}
/** Works building 3's case through its forms: only when it is asked for by name. */
const work = async (lang) => {
  for (const [who, element, outcome] of [['property', 'sign', 'accepted'], ['property', 'verify', 'real'], ['property', 'repair', 'done'], ['community', 'check', 'pass'], ['property', 'close', 'closed']]) {
    if (process.env.FROM && !process.env.FROM.includes(element)) continue
    await as(who, PHONE, lang, async (page, shot) => {
      await page.goto('/tasks')
      let found
      for (let tries = 0; tries < 20 && !found; tries += 1) {
        const { items } = await (await page.request.get('/api/v1/tasks?mine=true&state=open')).json()
        found = items.find((task) => task.element.includes(element) && /^3/.test(task.place.zh))
        if (!found) await page.waitForTimeout(1000)
      }
      await page.goto(`/tasks/${found.id}`)
      await page.getByTestId('handover').waitFor()
      await page.waitForTimeout(600)
      await shot(`work-${element}`, { fullPage: true })
      for (const select of await page.locator('main select').all()) await select.selectOption({ index: 1 })
      if (await page.getByTestId('photo-input').count() > 0) {
        await page.getByTestId('photo-input').first().setInputFiles(process.env.PHOTO)
        await page.waitForTimeout(1500)
        await shot(`work-${element}-filled`, { fullPage: true })
      }
      const button = page.getByTestId(`task-submit-${outcome}`)
      await (await button.count() > 0 ? button : page.locator('footer .primary')).click()
      await page.waitForURL((url) => url.pathname === '/tasks')
      await shot(`work-${element}-after`)
    })
  }
}
if (only.includes('work')) jobs.work = work
for (const [name, job] of Object.entries(jobs)) {
  if (only.length > 0 && !only.includes(name)) continue
  for (const language of (process.env.LANGS ?? 'zh-CN,en').split(',')) await job(language)
}
await browser.close()
console.log(problems.length > 0 ? problems.join('\n') : 'no console errors')
