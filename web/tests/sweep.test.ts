import { describe, expect, it } from 'vitest'
import type { Sweep, SweepCounts, SweepRow } from '@/api/contract'
import { ApiError } from '@/api/problem'
import { countsOf, known, refusal, runningInstead, withReport } from '@/sweep'

const row = (thing: string, verdict: SweepRow['verdict'], severity: SweepRow['severity'] = null) => ({ thing, verdict, severity }) as SweepRow
const counts = (open: number): SweepCounts => ({ total: 4, asked: 4, open, ok: 4 - open, low: 0, fault: 0, silent: 0 })
const report = (received: number, ...rows: SweepRow[]) => ({ counts: counts(1), received, rows: new Map(rows.map((one) => [one.thing, { row: one, received }])) })

describe('a sweep on the page', () => {
  it('lists what needs a person first', () => {
    const rows = [row('h-1', 'ok'), row('h-2', 'silent'), row('h-3', 'low', 'yellow'), row('h-5', 'fault'), row('h-4', 'low', 'red'), row('h-0', 'open')]
    expect(withReport(rows, undefined, 0, '').map(({ thing }) => thing)).toEqual(['h-4', 'h-3', 'h-5', 'h-2', 'h-0', 'h-1'])
    expect(withReport(rows, undefined, 0, 'low').map(({ thing }) => thing)).toEqual(['h-4', 'h-3'])
  })

  it('takes from the stream what came after the hub was asked, and nothing older', () => {
    const rows = [row('h-1', 'open'), row('h-2', 'open')]
    expect(withReport(rows, report(20, row('h-1', 'ok'), row('h-3', 'ok')), 10, 'ok').map(({ thing }) => thing)).toEqual(['h-1', 'h-3'])
    expect(withReport(rows, report(5, row('h-1', 'ok')), 10, 'ok')).toEqual([])
    const running = { state: 'running', counts: counts(3) } as Sweep
    expect(known(countsOf(running, report(20), 10))).toBe(3)
    expect(known(countsOf(running, report(5), 10))).toBe(1)
    expect(known(countsOf({ ...running, state: 'ended' }, report(20), 10))).toBe(1)
  })

  it('says why one was refused', () => {
    const problem = (kind: string, more = {}) => new ApiError(409, { type: `/problems/${kind}`, title: '', status: 409, detail: '', ...more })
    expect(refusal(problem('nobody-silent'))).toBe('nobody-silent')
    expect(refusal(problem('strange'))).toBe('other')
    expect(refusal(new TypeError())).toBe('other')
    expect(runningInstead(problem('sweep-running', { number: '2026-1124-0003' }))).toBe('2026-1124-0003')
    expect(runningInstead(problem('nobody-silent'))).toBeNull()
  })
})
