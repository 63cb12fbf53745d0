// Debian's Chromium, people in it, and what went wrong on their pages.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { BOUND } from './hub.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const FLAGS = [
  '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist',
]
export const DESK = { width: 1920, height: 1080 }
export const PHONE = { width: 390, height: 844 }

export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: FLAGS })

/** What every browser says and nobody has to mend. */
function harmless(text, url) {
  // Whether somebody is logged in can only be asked; the browser reports the answer "nobody".
  if (/status of 401/.test(text) && url.endsWith('/api/v1/session')) return true
  // Software drawing tells that it is slow.
  return /GPU stall|GL Driver Message|swiftshader/i.test(text)
}

/** A browser, the people who use it and the folder of pictures. */
export class Stage {
  constructor(browser, base, out) {
    this.browser = browser
    this.base = base
    this.out = out
    this.problems = []
    /** While set, messages that match are what the test wants to see. */
    this.expected = null
    this.contexts = new Set()
    this.serial = 0
    mkdirSync(out, { recursive: true })
  }

  /** A page in a profile of its own. */
  async open(who, viewport, { base = this.base, language = 'zh-CN' } = {}) {
    const phone = viewport.width < 500
    const context = await this.browser.newContext({
      baseURL: base, viewport, locale: language, timezoneId: 'Asia/Shanghai', reducedMotion: 'reduce',
      ...(phone ? { deviceScaleFactor: 2, hasTouch: true, isMobile: true } : {}),
    })
    this.contexts.add(context)
    context.setDefaultTimeout(BOUND)
    context.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return
      const url = message.location()?.url ?? ''
      if (!harmless(message.text(), url)) this.note(`${who}: ${message.type()}: ${message.text()} (${url})`)
    })
    context.on('weberror', (error) => this.note(`${who}: page error: ${error.error().stack ?? error.error().message}`))
    const page = await context.newPage()
    // Told by the page itself too: a style that is refused makes no error on every browser.
    await page.exposeFunction('tellViolation', (text) => this.note(`${who}: content security policy: ${text}`))
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        if (!globalThis.axeRuns) globalThis.tellViolation(`${event.violatedDirective} ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`)
      })
    })
    page.who = who
    return page
  }

  /** A page of a person who has logged in, at their home or at `path`. */
  async enter(hub, login, viewport, { path, base, language } = {}) {
    const page = await this.open(login, viewport, { base, language })
    await page.goto(path ?? '/')
    await this.logIn(page, login, hub.password(login))
    return page
  }

  async logIn(page, login, password) {
    await page.getByTestId('login-user').fill(login)
    await page.getByTestId('login-password').fill(password)
    await page.getByTestId('login-submit').click()
    await page.waitForURL((url) => url.pathname !== '/login')
  }

  note(problem) {
    if (this.expected?.test(problem)) return
    this.problems.push(problem)
  }

  /** Nothing that a page complained of so far may be left unread. */
  clean() {
    const found = [...new Set(this.problems)]
    this.problems.length = 0
    assert.deepEqual(found, [], 'console errors, page errors or policy violations')
  }

  /** Runs `work`, in which messages like `pattern` are to be expected. */
  async during(pattern, work) {
    this.expected = pattern
    try {
      return await work()
    } finally {
      this.expected = null
    }
  }

  async shot(page, name, options = {}) {
    this.serial += 1
    await picture(page, join(this.out, `${String(this.serial).padStart(2, '0')}-${name}.png`), options)
  }

  /** Every open page as it stands, and what it complained of: for whoever looks why a step failed. */
  async failed() {
    for (const problem of new Set(this.problems)) console.log(`page: ${problem}`)
    for (const context of this.contexts) for (const page of context.pages()) await this.shot(page, `FAILED-${page.who}`, { timeout: 5_000 })
  }

  async leave(page) {
    this.contexts.delete(page.context())
    await page.context().close()
  }

  async close() {
    for (const context of this.contexts) await context.close()
    this.contexts.clear()
  }
}

/** A picture of the screen, or of the whole page with what sticks to its foot at its foot. */
export async function picture(page, path, { fullPage = false, ...options } = {}) {
  const size = page.viewportSize()
  const height = fullPage ? await page.evaluate(() => (document.querySelector('.task > footer') ? document.documentElement.scrollHeight : 0)) : 0
  if (height > size.height) {
    await page.setViewportSize({ width: size.width, height })
    await page.screenshot({ path, animations: 'disabled', ...options })
    await page.setViewportSize(size)
  } else await page.screenshot({ path, animations: 'disabled', fullPage, ...options })
}

/** The map has drawn what it has, and a frame after it. */
export async function mapDrawn(page) {
  await page.waitForFunction(() => document.querySelector('[data-testid="map"]')?.getAttribute('data-idle') === 'true')
  await frames(page, 6)
}

export const frames = (page, count = 2) => page.evaluate(async (left) => {
  for (let n = 0; n < left; n += 1) await new Promise((resolve) => requestAnimationFrame(resolve))
}, count)

/** Serious and critical findings of axe on the page as it stands. */
export async function barriers(page) {
  // By the debugger: the page's policy allows no script but its own, and it stays in force.
  const session = await page.context().newCDPSession(page)
  await session.send('Runtime.evaluate', { expression: `globalThis.axeRuns = true; ${AXE}; undefined` })
  await session.detach()
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations'] })
    globalThis.axeRuns = false
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${node.any[0]?.message ?? node.failureSummary ?? ''}`).join(' | ')}`)
  })
}

/** A photo as a phone makes it: a real JPEG of a repaired pipe and its gauge. */
export async function photo(browser) {
  const page = await browser.newPage()
  try {
    const url = await page.evaluate(() => {
      const canvas = document.createElement('canvas')
      canvas.width = 1600
      canvas.height = 1200
      const c = canvas.getContext('2d')
      const wall = c.createLinearGradient(0, 0, 1600, 1200)
      wall.addColorStop(0, '#c9c3b8')
      wall.addColorStop(1, '#8f8a80')
      c.fillStyle = wall
      c.fillRect(0, 0, 1600, 1200)
      const pipe = c.createLinearGradient(520, 0, 760, 0)
      pipe.addColorStop(0, '#6d1512')
      pipe.addColorStop(0.45, '#d5463d')
      pipe.addColorStop(1, '#7a1815')
      c.fillStyle = pipe
      c.fillRect(520, 0, 240, 1200)
      c.fillStyle = '#5b5f63'
      for (const y of [420, 760]) c.fillRect(480, y, 320, 90)
      c.beginPath()
      c.arc(1120, 590, 230, 0, Math.PI * 2)
      c.fillStyle = '#f3f1ea'
      c.fill()
      c.lineWidth = 26
      c.strokeStyle = '#33373b'
      c.stroke()
      c.fillStyle = '#33373b'
      c.font = '56px sans-serif'
      c.textAlign = 'center'
      c.fillText('MPa', 1120, 720)
      c.fillText('0.41', 1120, 500)
      c.lineWidth = 12
      c.strokeStyle = '#b32018'
      c.beginPath()
      c.moveTo(1120, 590)
      c.lineTo(1250, 470)
      c.stroke()
      return canvas.toDataURL('image/jpeg', 0.85)
    })
    return { name: 'IMG_20261124_143205.jpg', mimeType: 'image/jpeg', buffer: Buffer.from(url.slice(url.indexOf(',') + 1), 'base64') }
  } finally {
    await page.close()
  }
}
