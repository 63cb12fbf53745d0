import type { Problem } from './contract'

/**
 * Why a request brought no answer that can be used. `status` 0 means that the server was not
 * reached at all: then nothing is known about whether it did what was asked.
 */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
    /** Seconds that the server asks to wait (429, 503), null when it said nothing. */
    readonly retryAfter: number | null = null,
  ) {
    super(problem?.title ?? (status === 0 ? 'server not reached' : `status ${status}`))
  }

  get unreachable(): boolean {
    // A proxy without a hub behind it answers 502 to 504: to a person that is the same.
    return this.status === 0 || (this.status >= 502 && this.status <= 504)
  }

  isProblem(kind: string): boolean {
    return this.problem?.type.endsWith(`/problems/${kind}`) ?? false
  }
}

export async function fromResponse(response: Response, body?: unknown): Promise<ApiError> {
  let problem: Problem | null = null
  try {
    const value: unknown = body ?? (await response.json())
    if (typeof value === 'object' && value !== null && 'type' in value) problem = value as Problem
  } catch {
    // Not JSON (a proxy's page, say): the status is all there is.
  }
  const after = Number(response.headers.get('Retry-After'))
  return new ApiError(response.status, problem, Number.isFinite(after) && after > 0 ? after : null)
}
