import { describe, expect, it } from 'vitest'
import type { Alert, Severity } from '@/api/contract'
import { orderAlerts } from '@/severity'

const alert = (number: string, severity: Severity, state: Alert['state'], opened_at: string) => ({ number, severity, state, opened_at })

describe('the order of alerts', () => {
  it('pins unresolved reds even when acknowledged, then unacknowledged, then graver, then newer', () => {
    const list = [
      alert('blue-ack', 'blue', 'acknowledged', '2026-11-24T06:09:00Z'),
      alert('yellow-old', 'yellow', 'open', '2026-11-24T06:01:00Z'),
      alert('red-ack', 'red', 'acknowledged', '2026-11-24T05:00:00Z'),
      alert('orange-ack', 'orange', 'acknowledged', '2026-11-24T06:08:00Z'),
      alert('blue', 'blue', 'open', '2026-11-24T06:07:00Z'),
      alert('yellow-new', 'yellow', 'open', '2026-11-24T06:02:00Z'),
      alert('red', 'red', 'open', '2026-11-24T04:00:00Z'),
      alert('red-done', 'red', 'resolved', '2026-11-24T06:30:00Z'),
    ]
    expect(orderAlerts(list).map((one) => one.number)).toEqual(['red', 'red-ack', 'yellow-new', 'yellow-old', 'blue', 'orange-ack', 'blue-ack', 'red-done'])
  })

  it('is the same whatever order the alerts came in, and leaves the list as it was', () => {
    const list = [alert('1', 'yellow', 'open', '2026-11-24T06:00:00Z'), alert('3', 'yellow', 'open', '2026-11-24T06:00:00Z'), alert('2', 'yellow', 'open', '2026-11-24T06:00:00Z')]
    const before = [...list]
    expect(orderAlerts(list)).toEqual(orderAlerts([...list].reverse()))
    expect(list).toEqual(before)
  })
})
