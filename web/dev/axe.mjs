// Runs axe over the pages served by dev/mock.mjs (WCAG 2.2 A and AA): node dev/axe.mjs
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const base = process.env.BASE ?? 'http://127.0.0.1:8090'
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
let found = 0
async function look(who, viewport, steps) {
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), 'zs-')), { executablePath: '/usr/bin/chromium', headless: true, viewport, bypassCSP: true, locale: 'zh-CN', args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'] })
  const page = context.pages()[0]
  const check = async (name) => {
    await page.evaluate(axe)
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
    for (const violation of violations) {
      found += 1
      console.log(`${name}: ${violation.id} (${violation.impact}) ${violation.nodes.slice(0, 4).map((node) => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join(' | ')}`)
    }
  }
  try {
    await page.goto(`${base}/login`)
    await page.getByTestId('login-submit').waitFor()
    if (!who) await check('login')
    else {
      await page.getByTestId('login-user').fill(who)
      await page.getByTestId('login-password').fill('y')
      await page.getByTestId('login-submit').click()
      await page.waitForURL((url) => url.pathname !== '/login')
      await steps(page, check)
    }
  } finally {
    await context.close()
  }
}
const DESK = { width: 1440, height: 900 }
const PHONE = { width: 390, height: 844 }
await look('', PHONE)
await look('officer', DESK, async (page, check) => {
  await page.getByTestId('alert-row').first().click()
  await page.waitForTimeout(3000)
  await check('situation')
  await page.keyboard.press('?')
  await page.waitForTimeout(600)
  await check('help')
  await page.goto(`${base}/alerts/2026-1124-0001`)
  await page.getByTestId('diagram').waitFor()
  await page.waitForTimeout(1000)
  await check('alert')
  await page.goto(`${base}/nowhere`)
  await page.waitForTimeout(400)
  await check('missing')
})
await look('property', PHONE, async (page, check) => {
  await page.getByTestId('task-row').first().waitFor()
  await check('tasks')
  await page.locator('[data-element="verify"]').first().click()
  await page.getByTestId('handover').waitFor()
  await check('task')
  await page.getByTestId('handover').click()
  await page.waitForTimeout(400)
  await check('hand over')
})
await look('resident', PHONE, async (page, check) => {
  await page.getByTestId('notice-card').first().waitFor()
  await check('building')
})
console.log(`${found} violations`)
