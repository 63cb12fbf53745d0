import { describe, expect, it } from 'vitest'
import type { QueryAnswer } from '@/api/contract'
import { cellText, curves, offsetOf } from '@/query'

const answer = (columns: [string, string][], rows: QueryAnswer['rows']): QueryAnswer => ({
  columns: columns.map(([name, type]) => ({ name, type })) as QueryAnswer['columns'],
  rows, truncated: false, seconds: 0.1,
})
const at = (hour: number) => `2026-11-24T0${hour}:00:00Z`

describe('the curves of an answer', () => {
  it('are a line a number', () => {
    const found = curves(answer([['hour', 'time'], ['mean', 'number'], ['samples', 'integer']], [[at(2), 0.3, 5], [at(1), 0.2, 4]]))
    expect(found?.map((one) => one.name)).toEqual(['mean', 'samples'])
    expect(found?.[0]?.points).toEqual([[Date.parse(at(1)), 0.2], [Date.parse(at(2)), 0.3]])
  })

  it('are a line a name where there are names, and keys measure nothing', () => {
    const rows: QueryAnswer['rows'] = [['a', at(1), 1], ['b', at(1), 2], ['a', at(2), 3]]
    expect(curves(answer([['thing', 'text'], ['t', 'time'], ['v', 'number']], rows))?.map((one) => [one.name, one.points.length])).toEqual([['a', 2], ['b', 1]])
    expect(curves(answer([['t', 'time'], ['datastream', 'integer']], [[at(1), 1], [at(2), 2]]))).toBeNull()
  })

  it('are none without times, without two points, or with more names than one tells apart', () => {
    expect(curves(answer([['v', 'number']], [[1], [2]]))).toBeNull()
    expect(curves(answer([['t', 'time'], ['v', 'number']], [[at(1), 1]]))).toBeNull()
    const many: QueryAnswer['rows'] = [1, 2].flatMap((hour) => [...'abcdefgh'].map((name) => [name, at(hour), 1]))
    expect(curves(answer([['thing', 'text'], ['t', 'time'], ['v', 'number']], many))).toBeNull()
  })
})

describe('a cell', () => {
  it('reads as people write it', () => {
    const say = (cell: Parameters<typeof cellText>[0], kind: Parameters<typeof cellText>[1]) => cellText(cell, kind, 'Asia/Shanghai', ['是', '否'])
    expect(say(null, 'number')).toBe('—')
    expect(say(true, 'boolean')).toBe('是')
    expect(say(0.1 + 0.2, 'number')).toBe('0.3')
    expect(say(9007199254740991, 'integer')).toBe('9007199254740991')
    expect(say('2020-11-24T00:00:05Z', 'time')).toBe('2020-11-24 08:00:05')
    expect(say('t-1', 'text')).toBe('t-1')
  })
})

describe('a place in a statement', () => {
  it('is found by line and column, and never beyond the end', () => {
    expect(offsetOf('SELECT\n  valeu', 2, 3)).toBe(9)
    expect(offsetOf('SELECT', 1, 1)).toBe(0)
    expect(offsetOf('SELECT', 9, 9)).toBe(6)
  })
})
