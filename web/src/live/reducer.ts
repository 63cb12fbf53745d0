// What an event of the stream means for what the page holds. Pure, so that it can be tested
// without a browser: the caller applies the answer.
import type { MapThing, Severity, SweepCounts, SweepRow, ThingState } from '@/api/contract'

export interface LastValue { time: string; value: number; quality: number }

/** A running sweep as the stream tells of it: how its devices stand, and rows that came since. */
export interface SweepReport { counts: SweepCounts; rows: Map<string, { row: SweepRow; received: number }>; received: number }

/** Sweeps that are remembered; a page looks at one. */
const SWEEPS = 4
/** Rows of a sweep that are remembered: further ones are read from the hub. */
const SWEEP_ROWS = 2_000

/** A thing as the map draws it, after the values and states that came since it was loaded. */
export interface LiveState {
  values: Map<number, LastValue>
  things: Map<string, { state: ThingState; severity: Severity | null; received: number }>
  sweeps: Map<string, SweepReport>
}

export interface Facts {
  position?: number
  area?: string
  at?: string
  number?: string
  id?: string
  severity?: Severity
  [fact: string]: unknown
}

export type Topic = 'alerts' | 'situation' | 'cases' | 'tasks' | 'notices' | 'sweeps' | 'map' | 'everything'

export interface Outcome {
  /** Which lists have to be asked for again. */
  stale: Topic[]
  /** Whether values or states of things changed in place. */
  moved: boolean
  /** A new alert to be said aloud. */
  opened: Facts | null
}

export function emptyState(): LiveState {
  return { values: new Map(), things: new Map(), sweeps: new Map() }
}

const SEVERITIES = new Set(['red', 'orange', 'yellow', 'blue'])
const STATES = new Set(['normal', 'alert', 'offline', 'unknown'])

const STALE: Record<string, Topic[]> = {
  'alert.opened': ['alerts', 'situation', 'map'],
  'alert.changed': ['alerts', 'situation', 'map'],
  'alert.acknowledged': ['alerts', 'situation'],
  'alert.resolved': ['alerts', 'situation', 'map', 'cases'],
  'case.opened': ['cases', 'alerts', 'situation'],
  'case.closed': ['cases', 'alerts', 'situation', 'tasks'],
  'task.opened': ['tasks', 'cases'],
  'task.escalated': ['tasks', 'cases'],
  'task.completed': ['tasks', 'cases'],
  'task.withdrawn': ['tasks', 'cases'],
  'task.handed-over': ['tasks', 'cases'],
  'notice.published': ['notices', 'cases'],
  'notice.ended': ['notices', 'cases'],
  'sweep.changed': ['sweeps'],
  reset: ['everything'],
}

/** The kinds of events to listen for. */
export const KINDS: readonly string[] = [...Object.keys(STALE), 'values', 'things', 'ping']

/** Applies one event, received at `received` (ms), to `state` in place and says what follows. Unreadable data change nothing. */
export function reduce(state: LiveState, kind: string, text: string, received: number): Outcome {
  const outcome: Outcome = { stale: [], moved: false, opened: null }
  let data: unknown
  try {
    data = text ? JSON.parse(text) : {}
  } catch {
    return outcome
  }
  if (typeof data !== 'object' || data === null) return outcome

  if (kind === 'values') {
    const items = (data as { items?: unknown }).items
    for (const item of Array.isArray(items) ? items : []) {
      if (!Array.isArray(item)) continue
      const [key, time, value, quality] = item as unknown[]
      if (typeof key !== 'number' || typeof time !== 'string' || typeof value !== 'number') continue
      const known = state.values.get(key)
      // A late sample tells of the past; the last value stays the last.
      if (known && Date.parse(known.time) > Date.parse(time)) continue
      state.values.set(key, { time, value, quality: typeof quality === 'number' ? quality : 0 })
      outcome.moved = true
    }
    return outcome
  }
  if (kind === 'things') {
    const items = (data as { items?: unknown }).items
    for (const item of Array.isArray(items) ? items : []) {
      const { code, state: next, severity } = (item ?? {}) as Record<string, unknown>
      if (typeof code !== 'string' || typeof next !== 'string' || !STATES.has(next)) continue
      const grave = typeof severity === 'string' && SEVERITIES.has(severity) ? (severity as Severity) : null
      state.things.set(code, { state: next as ThingState, severity: grave, received })
      outcome.moved = true
    }
    return outcome
  }
  if (kind === 'sweep.changed') {
    const { number, counts, rows } = data as { number?: unknown; counts?: SweepCounts; rows?: unknown }
    // Beginning and end are told without rows: then the hub is asked.
    if (Array.isArray(rows) && typeof number === 'string' && counts) {
      const known = state.sweeps.get(number)?.rows ?? new Map<string, { row: SweepRow; received: number }>()
      for (const row of rows as SweepRow[]) if (known.size < SWEEP_ROWS || known.has(row.thing)) known.set(row.thing, { row, received })
      state.sweeps.delete(number)
      state.sweeps.set(number, { counts, rows: known, received })
      for (const old of [...state.sweeps.keys()].slice(0, -SWEEPS)) state.sweeps.delete(old)
      outcome.moved = true
      return outcome
    }
  }
  outcome.stale = STALE[kind] ?? []
  if (kind === 'alert.opened') outcome.opened = data as Facts
  if (kind === 'reset') {
    state.values.clear()
    state.things.clear()
    state.sweeps.clear()
  }
  return outcome
}

/** A thing of the map, asked for at `asked` (ms), with everything that the stream brought since. */
export function withLive(thing: MapThing, state: LiveState, asked: number): MapThing {
  const value = thing.key === null ? undefined : state.values.get(thing.key)
  const heard = state.things.get(thing.code)
  const change = heard && heard.received >= asked ? { state: heard.state, severity: heard.severity } : null
  if (!value && !change) return thing
  const newer = value && (thing.time === null || Date.parse(value.time) >= Date.parse(thing.time))
  return { ...thing, ...(newer ? { value: value.value, time: value.time } : {}), ...(change ?? {}) }
}
