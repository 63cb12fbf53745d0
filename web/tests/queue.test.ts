import 'fake-indexeddb/auto'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Problem, Task } from '@/api/contract'
import { ApiError } from '@/api/problem'
import { kept, type KeptPhoto, type Waiting } from '@/offline/database'
import { fit } from '@/offline/photo'
import { Queue, type Server } from '@/offline/queue'

const photo = (local: string): KeptPhoto => ({ local, field: 'photos', name: 'a.jpg', blob: new Blob(['x'], { type: 'image/jpeg' }), file: null })
const item = (id: string, more: Partial<Waiting> = {}): Waiting => ({ id, person: 'me', task: `task-${id}`, title: id, values: { outcome: 'done', photos: ['p1', 'p2'] }, photos: [photo('p1'), photo('p2')], created: Number(id), refusal: null, ...more })
const problem = (kind: string, status: number, more: Partial<Problem> = {}): ApiError => new ApiError(status, { type: `/problems/${kind}`, title: kind, status, ...more })

/** A server that notes what reaches it and fails when told. */
class Fake implements Server {
  uploads: string[] = []
  completed: { task: string; values: Record<string, unknown>; key: string }[] = []
  fail: (what: string) => ApiError | null = () => null
  upload(_blob: Blob, _name: string, key: string) {
    const error = this.fail(`upload ${key}`)
    if (error) return Promise.reject(error)
    this.uploads.push(key)
    return Promise.resolve({ id: `file-${key}`, name: 'a.jpg', media_type: 'image/jpeg', size: 1 })
  }
  complete(task: string, values: Record<string, unknown>, key: string) {
    const error = this.fail(`complete ${task}`)
    if (error) return Promise.reject(error)
    this.completed.push({ task, values, key })
    return Promise.resolve({ id: task } as Task)
  }
}

let server: Fake
let queue: Queue
beforeEach(async () => {
  for (const left of await kept.waiting()) await kept.dropWaiting(left.id)
  server = new Fake()
  queue = new Queue(kept, server)
})

describe('the queue of what waits for the network', () => {
  it('sends photos, then the values with the ids that the server gave, once, under one key', async () => {
    await queue.add(item('1'))
    const sent = await queue.flush('me')
    expect(sent.map((one) => one.kind)).toEqual(['done'])
    expect(server.uploads).toEqual(['p1', 'p2'])
    expect(server.completed).toEqual([{ task: 'task-1', values: { outcome: 'done', photos: ['file-p1', 'file-p2'] }, key: '1' }])
    expect(await queue.list('me')).toEqual([])
  })

  it('keeps everything while the network is away, and does not send a photo twice afterwards', async () => {
    await queue.add(item('1'))
    server.fail = (what) => (what === 'upload p2' ? new ApiError(0, null) : null)
    expect((await queue.flush('me'))[0]?.kind).toBe('later')
    // Another queue on the same phone: what a closed and opened tab has.
    const reopened = new Queue(kept, server)
    expect(await reopened.list('me')).toHaveLength(1)
    server.fail = () => null
    expect((await reopened.flush('me'))[0]?.kind).toBe('done')
    expect(server.uploads).toEqual(['p1', 'p2'])
  })

  it.each([401, 408, 429, 500, 502, 503])('tries again after %i', async (status) => {
    await queue.add(item('1'))
    server.fail = () => new ApiError(status, null, 5)
    expect((await queue.flush('me'))[0]).toMatchObject({ kind: 'later', retryAfter: 5 })
    expect(await queue.list('me')).toHaveLength(1)
  })

  it('says who did it and when, and keeps the item until it was read', async () => {
    await queue.add(item('1'))
    server.fail = (what) => (what.startsWith('complete') ? problem('task-not-open', 409, { by: '唐强', at: '2026-11-24T06:30:00Z' }) : null)
    expect((await queue.flush('me'))[0]).toMatchObject({ kind: 'refused', refusal: { kind: 'taken', by: '唐强', at: '2026-11-24T06:30:00Z' } })
    expect(await queue.flush('me')).toEqual([])
    expect(await queue.list('me')).toHaveLength(1)
    await queue.dismiss('1')
    expect(await queue.list('me')).toEqual([])
  })

  it('goes on with the next when one is refused, and stops when there is no network', async () => {
    await queue.add(item('1', { photos: [] }))
    await queue.add(item('2', { photos: [] }))
    server.fail = (what) => (what === 'complete task-1' ? problem('invalid', 422, { detail: '照片不清楚' }) : null)
    expect((await queue.flush('me')).map((one) => one.kind)).toEqual(['refused', 'done'])
    await queue.add(item('3', { photos: [] }))
    await queue.add(item('4', { photos: [] }))
    server.fail = () => new ApiError(0, null)
    expect((await queue.flush('me')).map((one) => one.kind)).toEqual(['later'])
  })

  it('never sends for another person who logged in on the same phone', async () => {
    await queue.add(item('1'))
    expect(await queue.flush('you')).toEqual([])
    expect(await queue.list('you')).toEqual([])
    expect(server.uploads).toEqual([])
  })

  it('sends once when asked twice at the same time', async () => {
    await queue.add(item('1'))
    await Promise.all([queue.flush('me'), queue.flush('me')])
    expect(server.completed).toHaveLength(1)
  })
})

describe('a photo', () => {
  it.each([[4000, 3000, 2560, 1920], [3000, 4000, 1920, 2560], [800, 600, 800, 600], [10_000, 1, 2560, 1]])('of %i × %i becomes %i × %i', (width, height, w, h) => {
    expect(fit(width, height)).toEqual({ width: w, height: h })
  })
})
