// Every page, at a desk and on a phone, in both languages: its words, its barriers, its pictures.
import assert from 'node:assert/strict'
import { DESK, PHONE, barriers, frames, mapDrawn } from './browser.mjs'
import { step } from './step.mjs'

/**
 * Each page: its name, its address, who looks at it and when it is ready.
 * @param {{ alert: string, task: string }} places addresses of an alert and of a task
 */
export const tour = ({ alert, task }) => [
  { name: 'situation', path: '/situation', who: 'officer', ready: async (page) => {
    await page.getByTestId('alert-row').first().waitFor()
    await mapDrawn(page)
  } },
  { name: 'alert', path: alert, who: 'officer', ready: async (page) => {
    await page.locator('[data-testid="diagram"] .djs-element').first().waitFor()
    await page.getByTestId('curve').waitFor()
    await page.locator('[data-testid="timeline"] > li').first().waitFor()
    await frames(page)
  } },
  { name: 'tasks', path: '/tasks', who: 'officer', ready: (page) => page.getByTestId('task-row').first().waitFor() },
  { name: 'task', path: task, who: 'officer', ready: (page) => page.getByTestId('handover').waitFor() },
  { name: 'notifications', path: '/notifications', who: 'officer', ready: (page) => page.getByTestId('delivery').first().waitFor() },
  { name: 'inbox', path: '/inbox', who: 'officer', ready: (page) => page.getByTestId('inbox-message').first().waitFor() },
  { name: 'sweeps', path: '/sweeps', who: 'officer', ready: (page) => page.locator('[data-testid="sweep-start"]:enabled').waitFor() },
  { name: 'building', path: '/building', who: 'resident', ready: (page) => page.getByTestId('notice-card').first().waitFor() },
  { name: 'missing', path: '/nowhere', who: 'officer', ready: (page) => page.locator('main h1').waitFor() },
]

/** Hanzi that stand on the page, in its words and in its labels, outside what is marked as Chinese. */
const hanzi = (page) => page.evaluate(() => {
  const found = []
  const chinese = (node) => node.closest('[lang]')?.getAttribute('lang')?.startsWith('zh')
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement
    if (/\p{Script=Han}/u.test(node.data) && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(parent.tagName) && !chinese(parent)) found.push(node.data.trim())
  }
  for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
    for (const node of document.querySelectorAll(`[${name}]`)) if (/\p{Script=Han}/u.test(node.getAttribute(name)) && !chinese(node)) found.push(`${name}=${node.getAttribute(name)}`)
  }
  if (/\p{Script=Han}/u.test(document.title)) found.push(`title: ${document.title}`)
  return [...new Set(found)]
})

/** A language that is not the browser's is chosen as people choose it. */
export async function speak(page, language) {
  if ((await page.evaluate(() => document.documentElement.lang)) !== language) {
    const button = page.getByTestId('language').first()
    if (await button.count() > 0) await button.click()
    else {
      // The field's page has no room for the switch: the choice is made on another and kept.
      await page.evaluate((chosen) => localStorage.setItem('zhongshu.language', chosen), language)
      await page.reload()
    }
  }
  await page.waitForFunction((wanted) => document.documentElement.lang === wanted, language)
}

/**
 * Walks through all pages.
 * @param {(page: import('playwright-core').Page, name: string, language: string, size: string) => Promise<void>} look
 */
export async function walk(stage, hub, places, look) {
  for (const [size, viewport] of [['desk', DESK], ['phone', PHONE]]) {
    const login = await stage.open('nobody', viewport)
    await login.goto('/login')
    await login.getByTestId('login-submit').waitFor()
    for (const language of ['zh-CN', 'en']) {
      await speak(login, language)
      await look(login, 'login', language, size)
    }
    await stage.leave(login)
    for (const [who, account] of [['officer', 'property'], ['resident', 'resident']]) {
      const page = await stage.enter(hub, account, viewport)
      for (const { name, path, who: reader, ready } of tour(places)) {
        if (reader !== who) continue
        await page.goto(path)
        await ready(page)
        for (const language of ['zh-CN', 'en']) {
          await speak(page, language)
          await ready(page)
          await look(page, name, language, size)
        }
        await speak(page, 'zh-CN')
      }
      await stage.leave(page)
    }
  }
}

/** Names that people gave, in whatever language they gave them: not the page's own words. */
async function givenNames(page) {
  const names = new Set(['王强', '李梅', '陈静', '刘洋', '周敏', '赵阿姨'])
  for (let after = ''; after !== null;) {
    const answer = await (await page.context().request.get(`/api/v1/areas?limit=500${after ? `&after=${after}` : ''}`)).json()
    for (const { name } of answer.items) if (name.en === name.zh || !name.en) names.add(name.zh)
    after = answer.next
  }
  return [...names].sort((a, b) => b.length - a.length)
}

export function pages(world) {
  step(world, 'every page, at both sizes and in both languages: no barrier, no word of the other language', async () => {
    const { stage, hub, property } = world
    const names = await givenNames(property)
    const open = await (await property.context().request.get('/api/v1/tasks?mine=true&state=open')).json()
    const found = []
    await walk(stage, hub, { alert: world.closed.alert, task: `/tasks/${open.items[0].id}` }, async (page, name, language, size) => {
      const where = `${name}, ${size}, ${language}`
      await stage.shot(page, `page-${name}-${size}-${language}`, { fullPage: size === 'phone' })
      for (const barrier of await barriers(page)) found.push(`${where}: ${barrier}`)
      if (language === 'en') {
        for (const text of await hanzi(page)) {
          let rest = text
          for (const given of names) rest = rest.replaceAll(given, '')
          // What people wrote into the forms stays as they wrote it.
          if (/\p{Script=Han}/u.test(rest) && !world.written.some((note) => text.includes(note))) found.push(`${where}: Chinese is left: ${text}`)
        }
      }
      // Codes, paths and keys are the hub's own words, not people's.
      const raw = (await page.locator('body').innerText()).match(/[a-z]+-duty\b|\d+\/\d{6}\/?\S*|\b(?:kinds|alert|task|situation)\.[a-z]\S*|\bundefined\b|\bNaN\b|\[object /g)
      if (raw) found.push(`${where}: not words for people: ${[...new Set(raw)].join(', ')}`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      if (wide > 0) found.push(`${where}: ${wide} px wider than the screen`)
    })
    stage.clean()
    assert.deepEqual([...new Set(found)], [])
  })
}
