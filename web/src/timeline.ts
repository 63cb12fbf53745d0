// One story from two books: what happened to the alert, and what people did about it.
import type { AlertChange, FileRef, Severity, Text, TimelineEntry } from '@/api/contract'

export interface Moment {
  at: string
  source: 'alert' | 'case'
  kind: string
  severity: Severity | null
  value: number | null
  text: Text | null
  by: string | null
  told: NonNullable<TimelineEntry['told']>
  notes: string[]
  files: FileRef[]
  /** Entries of one kind that came one upon the other, told as one. */
  more: { at: string; text: Text | null }[]
}

/** Kinds that come by the dozen when a main bursts: the first stands for all. */
const TOGETHER = new Set(['alert.joined', 'alert.resolved', 'task.withdrawn'])
/** What a person wrote, among the values of a form. */
const NOTES = ['note', 'summary']

export function story(changes: readonly AlertChange[], entries: readonly TimelineEntry[]): Moment[] {
  const all: Moment[] = [
    // What the hub notes on the alert about its case is told by the case itself.
    ...changes.filter((change) => entries.length === 0 || change.kind !== 'note' || change.by !== null).map((change): Moment => ({ at: change.at, source: 'alert', kind: change.kind, severity: change.severity, value: change.value, text: change.text, by: change.by, told: [], notes: [], files: [], more: [] })),
    ...entries.map((entry): Moment => ({
      at: entry.at, source: 'case', kind: entry.kind, severity: null, value: null, text: entry.text, by: entry.by, told: entry.told ?? [],
      notes: NOTES.map((name) => entry.values?.[name]).filter((note): note is string => typeof note === 'string' && note.trim() !== ''),
      files: entry.files, more: [],
    })),
  ]
  // Stable: what the server wrote in one instant keeps its order, the alert before the case it started.
  all.sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
  const told: Moment[] = []
  for (const moment of all) {
    const before = told.at(-1)
    if (before && before.kind === moment.kind && TOGETHER.has(moment.kind)) before.more.push({ at: moment.at, text: moment.text })
    else told.push(moment)
  }
  return told
}
