import { describe, expect, it } from 'vitest'
import type { MapThing } from '@/api/contract'
import { emptyState, reduce, withLive } from '@/live/reducer'

const thing: MapThing = { code: 'h-1', key: 7, name: { zh: '', en: '' }, lon: 0, lat: 0, area: '50/', floor: null, siting: null, state: 'normal', severity: null, value: 0.3, unit: 'MPa', time: '2026-11-24T06:00:00Z' }
const values = (...items: unknown[]) => JSON.stringify({ at: '', items })

describe('the event stream', () => {
  it('keeps the newest value of a datastream and ignores a late one', () => {
    const state = emptyState()
    expect(reduce(state, 'values', values([7, '2026-11-24T06:01:00Z', 0.2, 0]), 1).moved).toBe(true)
    expect(reduce(state, 'values', values([7, '2026-11-24T06:00:30Z', 0.9, 0]), 2).moved).toBe(false)
    expect(withLive(thing, state, 0)).toMatchObject({ value: 0.2, time: '2026-11-24T06:01:00Z', state: 'normal' })
  })

  it('changes the state of a thing in place, unless the thing was asked for afterwards', () => {
    const state = emptyState()
    reduce(state, 'things', JSON.stringify({ items: [{ code: 'h-1', state: 'alert', severity: 'red' }] }), 100)
    expect(withLive(thing, state, 50)).toMatchObject({ state: 'alert', severity: 'red' })
    expect(withLive(thing, state, 150)).toMatchObject({ state: 'normal', severity: null })
  })

  it('says which lists are stale, and speaks of a new alert only', () => {
    const state = emptyState()
    const opened = reduce(state, 'alert.opened', '{"number":"2026-1124-0007","severity":"yellow"}', 1)
    expect(opened.stale).toEqual(expect.arrayContaining(['alerts', 'situation', 'map']))
    expect(opened.opened?.number).toBe('2026-1124-0007')
    expect(reduce(state, 'alert.changed', '{}', 1).opened).toBeNull()
    expect(reduce(state, 'task.opened', '{}', 1).stale).toContain('tasks')
    expect(reduce(state, 'notice.published', '{}', 1).stale).toContain('notices')
    expect(reduce(state, 'ping', '', 1)).toEqual({ stale: [], moved: false, opened: null })
  })

  it('keeps the rows of a running sweep, and asks for it when it begins and ends', () => {
    const state = emptyState()
    const report = (ok: number, ...things: string[]) => JSON.stringify({ number: '2026-1124-0001', state: 'running', counts: { total: 3, ok }, rows: things.map((thing) => ({ thing, verdict: 'ok' })) })
    expect(reduce(state, 'sweep.changed', report(1, 'h-1'), 5)).toEqual({ stale: [], moved: true, opened: null })
    reduce(state, 'sweep.changed', report(2, 'h-2'), 6)
    expect(state.sweeps.get('2026-1124-0001')?.counts.ok).toBe(2)
    expect([...(state.sweeps.get('2026-1124-0001')?.rows.keys() ?? [])]).toEqual(['h-1', 'h-2'])
    expect(reduce(state, 'sweep.changed', '{"number":"2026-1124-0001","state":"ended"}', 7)).toEqual({ stale: ['sweeps'], moved: false, opened: null })
    for (let n = 2; n < 9; n += 1) reduce(state, 'sweep.changed', JSON.stringify({ number: `2026-1124-000${n}`, counts: { total: 1 }, rows: [] }), 8)
    expect(state.sweeps.size).toBe(4)
  })

  it('forgets what it knew on reset and asks for everything', () => {
    const state = emptyState()
    reduce(state, 'values', values([7, '2026-11-24T06:01:00Z', 0.2, 0]), 1)
    expect(reduce(state, 'reset', '{}', 2).stale).toEqual(['everything'])
    expect(state.values.size).toBe(0)
  })

  it.each([['values', 'no json'], ['values', '{"items":[[1],["x","y",2],null]}'], ['things', '{"items":[{"code":1},{"code":"a","state":"odd"},null]}'], ['values', '[]'], ['values', 'null']])('is not disturbed by %s %s', (kind, text) => {
    const state = emptyState()
    expect(reduce(state, kind, text, 1)).toEqual({ stale: [], moved: false, opened: null })
    expect(state).toEqual(emptyState())
  })
})
