// What an answer of rows looks like to a person: which of it is a curve, how a cell reads.
import type { QueryAnswer, QueryCell, QueryColumnKind } from '@/api/contract'
import { moment } from '@/time'

export interface Series { name: string; points: [number, number][] }

/** More lines than this nobody tells apart. */
const MOST_SERIES = 6
/** Numbers that name something and measure nothing. */
const NAMES = new Set(['datastream', 'key', 'quality'])

/**
 * The curves in an answer: its first time column against its numbers, a line a number; with a
 * column of names, a line a name of the first number. Null when there is nothing to draw.
 */
export function curves(answer: QueryAnswer): Series[] | null {
  const columns = answer.columns.map((column, at) => ({ ...column, at }))
  const time = columns.find((column) => column.type === 'time')
  const numbers = columns.filter((column) => (column.type === 'number' || column.type === 'integer') && !NAMES.has(column.name))
  const first = numbers[0]
  if (!time || !first) return null
  const label = columns.find((column) => column.type === 'text' || column.name === 'datastream' || column.name === 'key')
  const series = new Map<string, [number, number][]>()
  const add = (name: string, at: QueryCell, value: QueryCell): void => {
    if (typeof at !== 'string' || typeof value !== 'number') return
    const points = series.get(name)
    if (points) points.push([Date.parse(at), value])
    else series.set(name, [[Date.parse(at), value]])
  }
  for (const row of answer.rows) {
    if (label) add(String(row[label.at]), row[time.at] ?? null, row[first.at] ?? null)
    else for (const number of numbers.slice(0, 3)) add(number.name, row[time.at] ?? null, row[number.at] ?? null)
    if (series.size > MOST_SERIES) return null
  }
  const found = [...series].map(([name, points]) => ({ name, points: points.sort((a, b) => a[0] - b[0]) }))
  return found.some((one) => one.points.length > 1) ? found : null
}

/** A cell in words; `words` are yes and no. */
export function cellText(cell: QueryCell | undefined, kind: QueryColumnKind, zone: string, words: [string, string]): string {
  if (cell === null || cell === undefined) return '—'
  if (typeof cell === 'boolean') return cell ? words[0] : words[1]
  if (kind === 'time' && typeof cell === 'string') return moment(cell, Date.now(), zone, true)
  if (typeof cell === 'number' && !Number.isInteger(cell)) return String(Number(cell.toPrecision(12)))
  return String(cell)
}

/** Where a line and a column are in a text: both count from 1. */
export function offsetOf(text: string, line: number, column: number): number {
  const lines = text.split('\n')
  const before = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0)
  return Math.min(before + column - 1, text.length)
}
