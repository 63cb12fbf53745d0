// Pictures of every page, desk and phone, in both languages, from a demo of its own with two bursts in it:
//   node web/e2e/screenshots.mjs OUT [--docs]      --docs also makes the three of docs/images
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startDemo, until } from './hub.mjs'
import { DESK, PHONE, Stage, frames, launch, mapDrawn, photo, picture } from './browser.mjs'
import { row } from './burst.mjs'
import { walk } from './pages.mjs'

const out = process.argv[2]
if (!out || out.startsWith('--')) {
  console.error('say where the pictures go: node web/e2e/screenshots.mjs OUT [--docs]')
  process.exit(2)
}
const LIMIT = 400_000

/** The picture at a width at which it is small enough for a README. */
async function shrink(browser, png, widths) {
  const page = await browser.newPage()
  try {
    for (const width of widths) {
      const small = Buffer.from(await page.evaluate(async ([data, to]) => {
        const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob())
        const canvas = document.createElement('canvas')
        canvas.width = Math.min(to, bitmap.width)
        canvas.height = Math.round((bitmap.height * canvas.width) / bitmap.width)
        const c = canvas.getContext('2d')
        c.imageSmoothingQuality = 'high'
        c.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
        return canvas.toDataURL('image/png').split(',')[1]
      }, [png.toString('base64'), width]), 'base64')
      if (small.length <= LIMIT) return small
    }
    throw new Error(`no width of ${widths.join(', ')} gives a picture of at most ${LIMIT} bytes`)
  } finally {
    await page.close()
  }
}

async function submit(page, value) {
  await page.getByTestId(`task-submit-${value}`).click()
  await page.waitForURL('**/tasks')
}

const browser = await launch()
// Durations as they are: pictures show what people will see.
const hub = await startDemo({ name: 'sqlite' }, { speed: 1 })
try {
  const stage = new Stage(browser, hub.base, resolve(out))
  const street = await stage.enter(hub, 'street', DESK)
  await mapDrawn(street)
  const property = await stage.enter(hub, 'property', PHONE)
  await hub.fault('burst', 'riser-03-1')
  await until(async () => (await street.getByTestId('alert-row').count()) === 10, 'the riser has burst')
  await row(property, 'sign').click()
  await submit(property, 'accepted')
  await row(property, 'verify').click()
  await property.getByTestId('field-note').fill('3 栋 1 单元立管底部漏水，压力表 0.09 兆帕')
  await submit(property, 'real')
  await hub.fault('burst', 'main-2')
  await until(async () => (await street.getByTestId('alert-row').count()) === 20, 'the main has burst')
  await row(property, 'sign').waitFor()

  const { items: tasks } = await (await property.context().request.get('/api/v1/tasks?mine=true&state=open')).json()
  const repair = `/tasks/${tasks.find((task) => task.element === 'repair').id}`
  const { items: alerts } = await (await property.context().request.get('/api/v1/alerts?state=acknowledged')).json()
  await walk(stage, hub, { alert: `/alerts/${alerts[0].number}`, task: repair }, (page, name, language, size) =>
    picture(page, join(stage.out, `${name}-${size}-${language}.png`), { fullPage: size === 'phone' }))
  await street.goto('/situation?wall=1')
  await street.getByTestId('alert-row').first().waitFor()
  await mapDrawn(street)
  await street.screenshot({ path: join(stage.out, 'wall-desk-zh-CN.png') })

  if (process.argv.includes('--docs')) {
    const docs = fileURLToPath(new URL('../../docs/images/', import.meta.url))
    mkdirSync(docs, { recursive: true })
    const keep = async (page, name, widths) => {
      await frames(page, 6)
      writeFileSync(join(docs, `${name}.png`), await shrink(browser, await page.screenshot(), widths))
    }
    await street.goto('/situation')
    await street.getByTestId('alert-row').first().waitFor()
    await mapDrawn(street)
    await keep(street, 'situation', [1400, 1280, 1120, 960])
    await property.goto(repair)
    await property.getByTestId('field-cause').selectOption('burst-pipe')
    await property.getByTestId('photo-input').setInputFiles(await photo(browser))
    await property.locator('[data-testid="photo"] [data-sent="true"]').waitFor()
    await property.evaluate(() => scrollTo(0, document.documentElement.scrollHeight))
    await keep(property, 'task', [780, 585, 390])
    const resident = await stage.enter(hub, 'resident', PHONE)
    await resident.getByTestId('notice-card').first().waitFor()
    await keep(resident, 'building', [780, 585, 390])
  }
  for (const problem of new Set(stage.problems)) console.warn(problem)
} finally {
  await browser.close()
  await hub.stop()
}
console.log(`the pictures are in ${resolve(out)}`)
