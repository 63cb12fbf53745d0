// Another burst, left alone: every level is told in its turn, and whoever lives there has read it.
import assert from 'node:assert/strict'
import { DESK, PHONE, mapDrawn } from './browser.mjs'
import { row } from './burst.mjs'
import { step } from './step.mjs'

const RISER = 'riser-03-2'

/** Breaks the riser early: it climbs while the tests before the last look at other things. */
export function leaveAlone(world) {
  step(world, 'another burst is left alone', async () => {
    const { stage, hub, property, resident } = world
    await property.goto('/tasks')
    await property.getByTestId('empty').waitFor()
    await hub.fault('burst', RISER)
    await row(property, 'sign').waitFor()
    world.alone = (await row(property, 'sign').locator('.case').innerText()).trim()
    assert.notEqual(world.alone, world.closed.number)
    const notice = resident.locator('[data-testid="notice-card"][data-state="current"]')
    await notice.waitFor()
    await stage.shot(resident, 'building-second', { fullPage: true })
  })
}

export function climb(world) {
  step(world, 'it climbs its four levels, and the first to act takes it', async () => {
    const { stage, hub, property, community, street, resident, alone } = world
    const district = await stage.enter(hub, 'district', DESK)
    await mapDrawn(district)
    await stage.shot(district, 'situation-district')
    await district.goto('/tasks')
    for (const page of [property, community, street]) await page.goto('/tasks')
    for (const page of [property, community, street, district]) {
      await row(page, 'sign', alone).waitFor()
      await stage.shot(page, `climbed-${page.who}`)
    }
    // Those below keep the task while those above have it too.
    assert.equal(await row(property, 'sign', alone).count(), 1)

    await row(district, 'sign', alone).click()
    await district.getByTestId('task-alert').click()
    const story = district.getByTestId('timeline')
    await story.locator('[data-kind="task.escalated"]').nth(2).waitFor()
    assert.equal(await story.locator('[data-kind="task.escalated"]').count(), 3)
    const told = await story.innerText()
    for (const name of ['王强', '陈静', '刘洋', '周敏']) assert.ok(told.includes(name), `${name} was told, and the story says so`)
    await stage.shot(district, 'alert-climbed', { fullPage: true })

    // The district signs; the others' tasks go by themselves.
    await district.goBack()
    await district.getByTestId('task-submit-accepted').click()
    await district.waitForURL('**/tasks')
    for (const page of [property, community, street]) await row(page, 'sign', alone).waitFor({ state: 'detached' })
    await property.getByTestId('tab-done').click()
    await row(property, 'sign', alone).waitFor()
    await stage.shot(property, 'climbed-withdrawn')
    await resident.locator('[data-testid="notice-card"][data-state="current"]').waitFor()
    await stage.leave(district)
    await property.getByTestId('tab-open').click()
    stage.clean()
  })
}
