import type { Alert, Severity } from '@/api/contract'

/** The four national warning colours, gravest first. */
export const SEVERITIES: readonly Severity[] = ['red', 'orange', 'yellow', 'blue']

export function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity)
}

type Ordered = Pick<Alert, 'severity' | 'state' | 'opened_at' | 'number'>

/**
 * The order of a list of alerts: unresolved reds first even when acknowledged (a known fire still
 * burns), then what nobody acknowledged, then the graver, then the newer.
 */
export function compareAlerts(a: Ordered, b: Ordered): number {
  const pinned = (x: Ordered) => (x.severity === 'red' && x.state !== 'resolved' ? 0 : 1)
  const stage = (x: Ordered) => (x.state === 'open' ? 0 : x.state === 'acknowledged' ? 1 : 2)
  return (
    pinned(a) - pinned(b) ||
    stage(a) - stage(b) ||
    rank(a.severity) - rank(b.severity) ||
    Date.parse(b.opened_at) - Date.parse(a.opened_at) ||
    (a.number < b.number ? 1 : a.number > b.number ? -1 : 0)
  )
}

export function orderAlerts<T extends Ordered>(alerts: readonly T[]): T[] {
  return [...alerts].sort(compareAlerts)
}
