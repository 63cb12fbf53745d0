// What pages make of sweeps: which rows stand where, and what is known of a sweep that runs.
import type { Sweep, SweepCounts, SweepRow, SweepVerdict } from '@/api/contract'
import { ApiError } from '@/api/problem'
import type { SweepReport } from '@/live/reducer'
import { rank } from '@/severity'

/** In the order in which a person wants them: what is wrong first. */
export const VERDICTS: readonly SweepVerdict[] = ['low', 'fault', 'silent', 'open', 'ok']

/** The order of a sweep's rows, as the hub has it: low by severity, faults, silent, open, good. */
export function compareRows(a: SweepRow, b: SweepRow): number {
  const place = (row: SweepRow) => (row.verdict === 'low' ? (row.severity ? rank(row.severity) : 8) : 10 * (1 + VERDICTS.indexOf(row.verdict)))
  return place(a) - place(b) || (a.thing < b.thing ? -1 : a.thing > b.thing ? 1 : 0)
}

/** The rows as the hub gave them at `asked` (ms), with what the stream brought since; of one verdict, if any is chosen. */
export function withReport(rows: readonly SweepRow[], report: SweepReport | undefined, asked: number, verdict: SweepVerdict | ''): SweepRow[] {
  const all = new Map(rows.map((row) => [row.thing, row]))
  for (const [thing, { row, received }] of report?.rows ?? []) if (received >= asked) all.set(thing, row)
  return [...all.values()].filter((row) => !verdict || row.verdict === verdict).sort(compareRows)
}

/** How the devices stand: by the stream while it is the newer account. */
export function countsOf(sweep: Sweep, report: SweepReport | undefined, asked: number): SweepCounts {
  return sweep.state === 'running' && report && report.received >= asked ? report.counts : sweep.counts
}

/** The devices that something is known of. */
export function known(counts: SweepCounts): number {
  return counts.total - counts.open
}

/** The words for a refusal: the last part of the key below `sweep.refused`. */
export function refusal(error: unknown): string {
  const kind = error instanceof ApiError ? (error.problem?.type.split('/').pop() ?? '') : ''
  return ['sweeps-busy', 'nobody-silent', 'sweep-over', 'conflict', 'invalid'].includes(kind) ? kind : 'other'
}

/** The number of the sweep that asks the same devices now, when that is why one was refused. */
export function runningInstead(error: unknown): string | null {
  if (!(error instanceof ApiError) || !error.isProblem('sweep-running')) return null
  return error.problem?.number ?? null
}
