import createClient, { type Middleware } from 'openapi-fetch'
import type { Exact, FileRef, Problem, paths } from './contract'
import { ApiError, fromResponse } from './problem'

let csrf: string | null = null
let expired: () => void = () => {}

/** The token that every request that changes something carries; null after the end of a session. */
export function setCsrf(token: string | null): void {
  csrf = token
}
export function csrfToken(): string | null {
  return csrf
}
/** What to do when the server no longer knows the session. */
export function onExpired(handler: () => void): void {
  expired = handler
}
export function sessionExpired(): void {
  expired()
}

const guard: Middleware = {
  onRequest({ request }) {
    if (csrf && request.method !== 'GET' && request.method !== 'HEAD') request.headers.set('X-CSRF-Token', csrf)
    return request
  },
  onError() {
    return new ApiError(0, null)
  },
}

export const client = createClient<paths>({ baseUrl: globalThis.location?.origin ?? '', credentials: 'same-origin' })
client.use(guard)

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** The answer's data, or an `ApiError` thrown. */
export async function take<T>(answer: Promise<Answer<T>>): Promise<Exact<T>> {
  const { data, error, response } = await answer
  if (response.ok) return data as Exact<T>
  if (response.status === 401 && !response.url.endsWith('/api/v1/session')) expired()
  throw await fromResponse(response, error ?? {})
}

/** Sends a photo; `progress` gets 0 to 1. XMLHttpRequest, because fetch tells nothing of the way up. */
export function uploadFile(blob: Blob, name: string, key: string, progress: (part: number) => void): Promise<FileRef> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', '/api/v1/files')
    request.setRequestHeader('Content-Type', blob.type || 'image/jpeg')
    request.setRequestHeader('X-File-Name', encodeURIComponent(name))
    request.setRequestHeader('Idempotency-Key', key)
    if (csrf) request.setRequestHeader('X-CSRF-Token', csrf)
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total)
    }
    request.onerror = () => reject(new ApiError(0, null))
    request.onabort = request.onerror
    request.ontimeout = request.onerror
    request.timeout = 120_000
    request.onload = () => {
      let body: unknown = null
      try {
        body = JSON.parse(request.responseText)
      } catch {
        body = null
      }
      if (request.status === 201 || request.status === 200) return resolve(body as FileRef)
      if (request.status === 401) expired()
      const after = Number(request.getResponseHeader('Retry-After'))
      reject(new ApiError(request.status, body as Problem | null, after > 0 ? after : null))
    }
    request.send(blob)
  })
}
