// Sends what waits, in order, once each, and never drops anything silently: an item leaves the
// queue when the server has it, or when a person has read why the server refused it.
import type { FileRef, Task } from '@/api/contract'
import { ApiError } from '@/api/problem'
import type { Refusal, Waiting } from './database'

export interface Store {
  waiting(): Promise<Waiting[]>
  saveWaiting(item: Waiting): Promise<void>
  dropWaiting(id: string): Promise<void>
}
export interface Server {
  upload(blob: Blob, name: string, key: string, progress: (part: number) => void): Promise<FileRef>
  complete(task: string, values: Record<string, unknown>, key: string): Promise<Task>
}

export type Sent =
  | { kind: 'done'; item: Waiting; task: Task }
  | { kind: 'refused'; item: Waiting; refusal: Refusal }
  /** Stays in the queue: no network, or the server asked for patience. */
  | { kind: 'later'; item: Waiting; retryAfter: number | null }

/** Errors after which the same request may succeed later. 401 too: the person logs in again. */
export function later(error: ApiError): boolean {
  return error.unreachable || error.status === 401 || error.status === 408 || error.status === 425 || error.status === 429 || error.status >= 500
}

function refusalOf(error: ApiError): Refusal {
  if (error.status === 409 && error.isProblem('task-not-open')) return { kind: 'taken', by: error.problem?.by ?? null, at: error.problem?.at ?? null }
  const errors = error.problem?.errors ?? []
  return { kind: 'refused', status: error.status, message: error.problem?.detail ?? error.problem?.title ?? null, ...(errors.length > 0 ? { errors } : {}) }
}

/** Puts the ids that the server gave in the place of the phone's own. */
export function withFiles(item: Waiting): Record<string, unknown> {
  const ids = new Map(item.photos.map((photo) => [photo.local, photo.file]))
  const values: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(item.values)) {
    values[name] = Array.isArray(value) ? value.map((entry) => (typeof entry === 'string' ? (ids.get(entry) ?? entry) : entry)) : value
  }
  return values
}

export class Queue {
  private running: Promise<Sent[]> | null = null
  private more = false

  constructor(
    private readonly store: Store,
    private readonly server: Server,
    private readonly progress: (photo: string, part: number | null) => void = () => {},
  ) {}

  /** Everything of this person that has not arrived, the refused too. */
  async list(person: string): Promise<Waiting[]> {
    return (await this.store.waiting()).filter((item) => item.person === person)
  }

  async add(item: Waiting): Promise<void> {
    await this.store.saveWaiting(item)
  }

  async dismiss(id: string): Promise<void> {
    await this.store.dropWaiting(id)
  }

  /** Sends what waits for this person. A call during a run adds one more run, never a second beside it. */
  async flush(person: string): Promise<Sent[]> {
    if (this.running) {
      this.more = true
      return this.running
    }
    this.running = (async () => {
      const all: Sent[] = []
      do {
        this.more = false
        all.push(...(await this.run(person)))
      } while (this.more)
      return all
    })()
    try {
      return await this.running
    } finally {
      this.running = null
    }
  }

  private async run(person: string): Promise<Sent[]> {
    const sent: Sent[] = []
    for (const item of await this.list(person)) {
      if (item.refusal) continue
      const outcome = await this.send(item)
      sent.push(outcome)
      // Without a network the next would fail as well.
      if (outcome.kind === 'later') break
    }
    return sent
  }

  private async send(item: Waiting): Promise<Sent> {
    try {
      for (const photo of item.photos) {
        if (photo.file !== null) continue
        this.progress(photo.local, 0)
        try {
          const file = await this.server.upload(photo.blob, photo.name, photo.local, (part) => this.progress(photo.local, part))
          photo.file = file.id
          this.progress(photo.local, 1)
        } catch (error) {
          this.progress(photo.local, null)
          throw error
        }
        // Kept at once, so that a photo is not sent twice over a thin line.
        await this.store.saveWaiting(item)
      }
      const task = await this.server.complete(item.task, withFiles(item), item.id)
      await this.store.dropWaiting(item.id)
      return { kind: 'done', item, task }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (later(error)) return { kind: 'later', item, retryAfter: error.retryAfter }
      item.refusal = refusalOf(error)
      await this.store.saveWaiting(item)
      return { kind: 'refused', item, refusal: item.refusal }
    }
  }
}
