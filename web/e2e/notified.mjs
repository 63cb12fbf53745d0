// Who was told: at the gateway's stand-in, on the operator's page, on the alert's page, and read by the person.
import assert from 'node:assert/strict'
import { until } from './hub.mjs'
import { DESK, barriers } from './browser.mjs'
import { step } from './step.mjs'

export function notified(world) {
  step(world, 'who got a task was told by the declared channel, and the operator sees that it arrived', async () => {
    const { stage, hub, property } = world
    const { number, alert } = world.closed
    const mine = (one) => one.message.case === number && one.status === 202
    await until(async () => (await hub.messages()).filter(mine).length >= 2, 'messages of the case at the gateway')
    const came = (await hub.messages()).filter(mine)
    // Each by the first channel that they have an address for: 王强 has no WeCom, 李梅 has.
    assert.ok(came.some((one) => one.message.channel === 'sms' && one.message.to === '13800000004'), 'by SMS')
    assert.ok(came.some((one) => one.message.channel === 'wecom' && one.message.to === 'limei'), 'by WeCom')
    assert.equal(new Set(came.map((one) => one.key)).size, came.length, 'a key a message')

    const street = await stage.enter(hub, 'street', DESK)
    await street.goto(`/notifications?q=${number}`)
    await street.locator('[data-testid="delivery"][data-channel="sms"][data-state="accepted"]').first().waitFor()
    const text = await street.getByTestId('deliveries').innerText()
    assert.ok(text.includes('138****0004') && !text.includes('13800000004'), 'numbers are masked')
    await street.getByTestId('filter-channel').selectOption('wecom')
    await street.locator('[data-testid="delivery"][data-channel="sms"]').first().waitFor({ state: 'detached' })
    await stage.shot(street, 'notifications')
    assert.deepEqual(await barriers(street), [])

    await street.goto(alert)
    await street.locator('[data-testid="case-notifications"] [data-channel="sms"][data-state="accepted"]').first().waitFor()
    await stage.leave(street)

    // The person reads it in the pages, and says where they are reached.
    await property.goto('/inbox')
    await property.getByTestId('inbox-message').first().waitFor()
    await property.getByTestId('read-all').click()
    await property.getByTestId('read-all').waitFor({ state: 'detached' })
    await stage.during(/status of 422.*\/api\/v1\/contact/, async () => {
      await property.getByTestId('contact-email').fill('nobody')
      await property.getByTestId('contact-save').click()
      await property.locator('#fault-email').waitFor()
    })
    await property.getByTestId('contact-email').fill('wang@example.org')
    await property.getByTestId('contact-save').click()
    await property.locator('#fault-email').waitFor({ state: 'detached' })
    await property.reload()
    await until(async () => (await property.getByTestId('contact-email').inputValue()) === 'wang@example.org', 'the address is kept')
    assert.deepEqual(await barriers(property), [])
    await property.goto('/tasks')
    stage.clean()
  })

  step(world, 'a dead SMS channel: the message goes by voice, and the operator sees why', async () => {
    const { stage, hub, property } = world
    await hub.gatewayMode({ dead: ['sms'] })
    const before = (await hub.messages()).length
    await hub.fault('burst', 'riser-07-1')
    // 20 s are declared in the demo.
    const voice = await until(async () => (await hub.messages()).slice(before).find((one) => one.message.channel === 'voice' && one.status === 202), 'the next channel is used', 60_000)
    await hub.gatewayMode({})
    const street = await stage.enter(hub, 'street', DESK)
    await street.goto(`/notifications?q=${voice.message.case}&state=failed`)
    const failed = street.locator('[data-testid="delivery"][data-channel="sms"]').first()
    await failed.waitFor()
    assert.match(await failed.innerText(), /503.*out of order/)
    await stage.shot(street, 'notifications-failed')
    // It is sent again by hand, now that the channel is well.
    const key = (await hub.messages()).slice(before).find((one) => one.message.channel === 'sms')?.key
    await failed.locator('input[type="checkbox"]').check()
    await street.getByTestId('resend').click()
    await until(async () => (await hub.messages()).some((one) => one.key === key && one.status === 202), 'the SMS arrives after all')
    assert.deepEqual(await barriers(street), [])
    await stage.leave(street)
    await property.goto('/tasks')
    stage.clean()
  })
}
