// What the server found wrong with a form, put where the person can see it.
import type { FieldFault, Text } from '@/api/contract'

export interface ServerFaults {
  /** Beside a field that the form shows. */
  fields: Record<string, Text>
  /** What belongs to no field that is shown: said above the buttons. */
  whole: Text[]
}

/** Sorts faults by field: `/values/photos/0` belongs to `photos`. The first word on a field stays. */
export function sortFaults(errors: readonly FieldFault[], shown: readonly string[]): ServerFaults {
  const sorted: ServerFaults = { fields: {}, whole: [] }
  for (const { path, message } of errors) {
    const name = (path.split('/')[2] ?? '').replaceAll('~1', '/').replaceAll('~0', '~')
    if (!shown.includes(name)) sorted.whole.push(message)
    else sorted.fields[name] ??= message
  }
  return sorted
}
