import { describe, expect, it } from 'vitest'
import type { AlertChange, TimelineEntry } from '@/api/contract'
import { story } from '@/timeline'

const change = (at: string, kind: AlertChange['kind']): AlertChange => ({ at, kind, severity: null, value: null, by: null, text: null })
const entry = (at: string, kind: string, more: Partial<TimelineEntry> = {}): TimelineEntry => ({ at, kind, element: null, text: { zh: '', en: '' }, by: null, told: null, values: null, files: [], ...more })

describe('the story of an alert', () => {
  it('merges both books by time, the alert before the case that it started', () => {
    const told = story([change('2026-11-24T06:00:00Z', 'opened'), change('2026-11-24T06:05:00Z', 'acknowledged')], [entry('2026-11-24T06:00:00Z', 'case.opened'), entry('2026-11-24T06:04:59Z', 'task.completed')])
    expect(told.map((one) => one.kind)).toEqual(['opened', 'case.opened', 'task.completed', 'acknowledged'])
  })

  it('tells the joining of many alerts as one, but not across other things', () => {
    const joined = (second: number) => entry(`2026-11-24T06:00:0${second}Z`, 'alert.joined')
    const told = story([], [joined(1), joined(2), joined(3), entry('2026-11-24T06:00:04Z', 'task.opened'), joined(5)])
    expect(told.map((one) => [one.kind, one.more.length])).toEqual([['alert.joined', 2], ['task.opened', 0], ['alert.joined', 0]])
  })

  it('leaves out the hub’s own notes on the alert where the case tells the same, never those of a person', () => {
    const note = change('2026-11-24T06:00:00Z', 'note')
    const kinds = (notes: AlertChange[], entries: TimelineEntry[]) => story(notes, entries).map((one) => [one.kind, one.by])
    expect(kinds([note], [entry('2026-11-24T06:00:00Z', 'case.closed')])).toEqual([['case.closed', null]])
    expect(kinds([{ ...note, by: '王强' }], [entry('2026-11-24T06:00:01Z', 'case.closed')])).toEqual([['note', '王强'], ['case.closed', null]])
    expect(kinds([note], [])).toEqual([['note', null]])
  })

  it('shows what a person wrote and nothing else of the form', () => {
    const [one] = story([], [entry('2026-11-24T06:00:00Z', 'task.completed', { values: { outcome: 'real', note: '水漫到电梯厅', photos: ['x'], summary: ' ' } })])
    expect(one?.notes).toEqual(['水漫到电梯厅'])
  })
})
