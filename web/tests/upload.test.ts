import { describe, expect, it } from 'vitest'
import type { FileRef } from '@/api/contract'
import { ApiError } from '@/api/problem'
import { sendPhoto } from '@/offline/upload'

const FILE: FileRef = { id: 'f', name: 'a.jpg', media_type: 'image/jpeg', size: 1 }

/** Runs against answers in order: a status that failed, or null for a photo that arrived; the last is repeated. */
async function run(answers: (number | null)[], { offline = false, patientAfter = Infinity, retryAfter = null as number | null } = {}) {
  let tried = 0
  const pauses: number[] = []
  const outcome = await sendPhoto(
    () => {
      const status = answers[Math.min(tried, answers.length - 1)] ?? null
      tried += 1
      return status === null ? Promise.resolve(FILE) : Promise.reject(new ApiError(status, null, retryAfter))
    },
    () => offline || pauses.length >= patientAfter,
    (seconds) => {
      pauses.push(seconds)
      return Promise.resolve()
    },
  )
  return { kind: outcome.kind, tried, pauses }
}

describe('a photo on its way up', () => {
  it.each([
    ['arrives at once', [null], {}, { kind: 'sent', tried: 1, pauses: [] }],
    ['arrives at the third try', [0, 503, null], {}, { kind: 'sent', tried: 3, pauses: [1, 3] }],
    ['waits, calmly, without a network', [0], { offline: true }, { kind: 'waiting', tried: 1, pauses: [] }],
    ['arrives though the browser believes itself offline', [null], { offline: true }, { kind: 'sent', tried: 1, pauses: [] }],
    ['waits when the network goes, or the form is sent, between two tries', [0], { patientAfter: 1 }, { kind: 'waiting', tried: 1, pauses: [1] }],
    ['fails after tries on a network that is there', [0], {}, { kind: 'failed', tried: 3, pauses: [1, 3] }],
    ['fails at once when refused', [413], {}, { kind: 'failed', tried: 1, pauses: [] }],
    ['fails at once when refused, even as the network goes', [415], { offline: true }, { kind: 'failed', tried: 1, pauses: [] }],
    ['waits as long as the server asks, within reason', [429], { retryAfter: 60 }, { kind: 'failed', tried: 3, pauses: [5, 5] }],
  ])('%s', async (_name, answers, world, expected) => {
    expect(await run(answers, world)).toEqual(expected)
  })
})
