// What a refused form says to the person who filled it in.
import { ApiError } from './problem'
import type { Text } from './contract'

type Translate = (key: string, values?: Record<string, unknown>) => string

/** The hub's words about one field of a body; empty when it has none. */
export function fieldFault(error: unknown, path: string, say: (text: Text) => string): string {
  const errors = error instanceof ApiError ? (error.problem?.errors ?? []) : []
  const found = errors.find((one) => one.path === path)
  return found ? say(found.message) : ''
}

/** One sentence about why something was not done. */
export function whyNot(error: unknown, t: Translate, say: (text: Text) => string): string {
  if (!(error instanceof ApiError)) return t('failure.server', { status: '—' })
  if (error.unreachable) return t('failure.unreachable')
  const first = error.problem?.errors?.[0]
  if (first) return say(first.message)
  for (const kind of ['separated-roles', 'own-account', 'link-void', 'second-factor-state', 'shown-once']) if (error.isProblem(kind)) return t(`refused.${kind}`)
  if (error.status === 429) return t('failure.throttled', { seconds: error.retryAfter ?? 10 })
  if (error.status === 403) return t('failure.forbidden')
  if (error.status === 404) return t('failure.missing')
  return t('failure.server', { status: error.status })
}
